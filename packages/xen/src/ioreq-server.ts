import { constants } from 'node:os'
import type { DomainId } from '@xmc/interface'
import { XenCallError } from './errors.ts'
import type { DeviceModelOperations } from './internal/dm-op.ts'
import type { IoreqServerPage } from './internal/ioreq-page.ts'

const { EEXIST, EINVAL, ENOENT } = constants.errno

const MAXIMUM_ADDRESS = 2n ** 64n - 1n

/**
 * An ioreq server of a guest: the guest addresses that a device model answers for, and a page of request slots that
 * it shares with Xen (`hvm/ioreq.h` of Xen's public headers). Made by `DeviceModel`; the names are those of the
 * simulator's. After `destroy`, calls are refused with `ENOENT`.
 */
export class IoreqServer {
  /** Number of the server in its guest, 0 to 7. */
  readonly id: number
  /** The guest. */
  readonly domain: DomainId
  /** Whether it was taken over from a process that ended without destroying it. */
  readonly adopted: boolean
  /** The slots, 4,096 bytes; the slot of virtual CPU n is the 32 bytes from 32 × n on. Zeros after `destroy`. */
  readonly page: DataView
  readonly #operations: DeviceModelOperations
  readonly #mapping: IoreqServerPage
  readonly #onDestroy: (server: IoreqServer) => void
  #destroyed = false

  /** @internal */
  constructor(
    operations: DeviceModelOperations,
    domain: DomainId,
    id: number,
    mapping: IoreqServerPage,
    adopted: boolean,
    onDestroy: (server: IoreqServer) => void,
  ) {
    this.id = id
    this.domain = domain
    this.adopted = adopted
    this.page = mapping.view
    this.#operations = operations
    this.#mapping = mapping
    this.#onDestroy = onDestroy
  }

  /**
   * The guest's port for a virtual CPU: bind to it, and serve the slot whenever it signals.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for a virtual CPU that is not there, `ENOENT`
   */
  eventChannel(virtualCpu: number): number {
    if (this.#destroyed) throw this.#refused('ioreq event channel', ENOENT)
    const port = virtualCpu >>> 0 === virtualCpu ? this.#mapping.port(virtualCpu) : 0
    if (port === 0)
      throw this.#refused('ioreq event channel', EINVAL, `, virtual CPU ${virtualCpu}`)
    return port
  }

  /**
   * Gives the server the guest's accesses from `first` to `last`, both included, 0 to 2^64 − 1. One that was
   * adopted keeps a range that it has.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for a range that is none, `EEXIST` when the server has a part
   * of it already, `ENOMEM` beyond 256 ranges, `ENOENT`, `ESRCH` when the guest is gone
   */
  mapIoRange(first: bigint, last: bigint): void {
    this.#checkRange('ioreq range map', first, last)
    const result = this.#operations.mapIoRange(this.id, first, last)
    if (this.adopted && result === -EEXIST) return
    if (result < 0) throw this.#refused('ioreq range map', -result, describe(first, last))
  }

  /**
   * Takes a range away again.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for a range that is none, `ENOENT` when the server does not
   * have all of it, `ESRCH`
   */
  unmapIoRange(first: bigint, last: bigint): void {
    this.#checkRange('ioreq range unmap', first, last)
    const result = this.#operations.unmapIoRange(this.id, first, last)
    if (result < 0) throw this.#refused('ioreq range unmap', -result, describe(first, last))
  }

  /** Lets requests come. @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT`, `ESRCH` */
  enable(): void {
    this.#setState(true)
  }

  /** Lets no further request come. One that waits can still be answered. @throws as `enable` */
  disable(): void {
    this.#setState(false)
  }

  /**
   * Destroys it and unmaps its page. A virtual CPU that waits in it goes on: a write is lost, a read gives what
   * its register held.
   *
   * @throws XenCallError `ERR_XMC_SYSTEM_CALL`: `ENOENT` when it is gone, as with its guest, or `ESRCH`; the page is
   * unmapped all the same
   */
  destroy(): void {
    if (this.#destroyed) throw this.#refused('ioreq server destroy', ENOENT)
    this.#destroyed = true
    this.#onDestroy(this)
    const result = this.#operations.destroyIoreqServer(this.id)
    this.#mapping.close()
    if (result < 0) throw this.#refused('ioreq server destroy', -result)
  }

  #setState(enabled: boolean): void {
    if (this.#destroyed) throw this.#refused('ioreq server state', ENOENT)
    const result = this.#operations.setIoreqServerState(this.id, enabled)
    if (result < 0) throw this.#refused('ioreq server state', -result)
  }

  #checkRange(
    operation: 'ioreq range map' | 'ioreq range unmap',
    first: bigint,
    last: bigint,
  ): void {
    if (this.#destroyed) throw this.#refused(operation, ENOENT)
    if (first >= 0n && last >= first && last <= MAXIMUM_ADDRESS) return
    throw this.#refused(operation, EINVAL, describe(first, last))
  }

  #refused(operation: IoreqOperation, errno: number, addition = ''): XenCallError {
    return ioreqRefusal(operation, this.domain, this.id, errno, addition)
  }
}

/** What can be refused about a server. */
export type IoreqOperation =
  | 'ioreq event channel'
  | 'ioreq range map'
  | 'ioreq range unmap'
  | 'ioreq server state'
  | 'ioreq server destroy'

/** The error of a call about a server. */
export function ioreqRefusal(
  operation: IoreqOperation,
  domain: DomainId,
  id: number,
  errno: number,
  addition = '',
): XenCallError {
  const detail = `server ${id} of domain ${domain}${addition}`
  return new XenCallError({ operation, domain, detail }, errno)
}

function describe(first: bigint, last: bigint): string {
  return `, 0x${first.toString(16)} to 0x${last.toString(16)}`
}
