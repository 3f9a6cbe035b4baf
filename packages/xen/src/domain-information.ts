import { constants } from 'node:os'
import { type HostMemoryWindow, openWindow } from '@xmc/hostmem'
import { type DomainId, domainId, type GuestFrame, guestFrame, windowPage } from '@xmc/interface'
import { XenCallError } from './errors.ts'
import { Device } from './internal/device.ts'
import {
  type DomainInformation,
  domainControlCall,
  HYPERCALL,
  HYPERCALL_BUFFER_PATH,
  maximumFrameCall,
  readDomainInformation,
  writeGetDomainInformation,
  writeMaximumFrame,
} from './internal/hypercall.ts'
import { PRIVCMD_PATH } from './internal/privcmd.ts'
import type { SystemCalls } from './internal/system-calls.ts'

export type { DomainInformation } from './internal/hypercall.ts'

const { EACCES, ESRCH } = constants.errno

/**
 * Versions of Xen's domain control interface to try: 0x15 is that of Xen 4.17, which the package was tried on. In
 * all of them the fields that are read lie at the same places.
 */
const INTERFACE_VERSIONS: readonly number[] = [
  0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x14, 0x13,
]

/**
 * What Xen knows of domains: whether they run, how they stopped, how large they are. Made by
 * `Hypervisor.domains`. Asking is one hypercall and changes nothing.
 */
export class Domains {
  readonly #device: Device
  readonly #bufferDevice: Device
  readonly #window: HostMemoryWindow
  readonly #view: DataView
  readonly #onClose: (domains: Domains) => void
  #version: number | undefined

  /** @internal */
  constructor(calls: SystemCalls, onClose: (domains: Domains) => void = () => {}) {
    this.#onClose = onClose
    this.#device = new Device(calls, PRIVCMD_PATH)
    try {
      this.#bufferDevice = new Device(calls, HYPERCALL_BUFFER_PATH)
      try {
        this.#window = openWindow({ pageCount: 1 })
        this.#window.map(windowPage(0), 1, this.#bufferDevice.descriptor, 0, true)
      } catch (error) {
        this.#bufferDevice.close()
        throw error
      }
    } catch (error) {
      this.#device.close()
      throw error
    }
    this.#view = new DataView(this.#window.buffer, this.#window.byteOffset, 4096)
  }

  /**
   * What Xen knows of a domain; undefined when there is none of this number.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EACCES` for a Xen whose interface has a version that the package
   * does not know; `EPERM` when this domain may not ask
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  information(domain: DomainId): DomainInformation | undefined {
    const asked = domainId(domain)
    for (const version of this.#version === undefined ? INTERFACE_VERSIONS : [this.#version]) {
      writeGetDomainInformation(this.#view, version, asked)
      const result = this.#device.ioctl(HYPERCALL, domainControlCall(this.#window.hostAddress))
      if (result === -EACCES) continue
      this.#version = version
      if (result === -ESRCH) return undefined
      if (result < 0) throw refused('domain information', asked, -result)
      const found = readDomainInformation(this.#view)
      // Xen 4.17 tells of the next domain where there is none of this number.
      return found.domain === asked ? found : undefined
    }
    throw refused('domain information', asked, EACCES)
  }

  /**
   * The highest frame that a domain ever had something at.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` for no such domain, `EPERM`
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  maximumFrame(domain: DomainId): GuestFrame {
    writeMaximumFrame(this.#view, domainId(domain))
    const result = this.#device.ioctl(HYPERCALL, maximumFrameCall(this.#window.hostAddress))
    if (result < 0) throw refused('maximum frame', domain, -result)
    return guestFrame(result)
  }

  /** Closes its devices. A second call does nothing. */
  close(): void {
    if (this.#device.isClosed) return
    this.#onClose(this)
    try {
      this.#window.close()
    } finally {
      this.#device.close()
      this.#bufferDevice.close()
    }
  }

  /** The same as {@link Domains.close}. */
  [Symbol.dispose](): void {
    this.close()
  }
}

function refused(
  operation: 'domain information' | 'maximum frame',
  domain: number,
  errno: number,
): XenCallError {
  return new XenCallError({ operation, domain, detail: `of domain ${domain}` }, errno)
}
