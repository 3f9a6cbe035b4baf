import { constants } from 'node:os'
import { DEVICE_MODEL_OPERATION } from '../../src/internal/dm-op.ts'
import { HYPERCALL, HYPERCALL_BUFFER_PATH } from '../../src/internal/hypercall.ts'
import { MAP_RESOURCE } from '../../src/internal/ioreq-page.ts'
import { PRIVCMD_PATH } from '../../src/internal/privcmd.ts'
import { Kernel } from './kernel.ts'

const { EACCES, EEXIST, EINVAL, ENOENT, ENOSPC, ESRCH } = constants.errno

/** A server of the double. */
export interface DoubleServer {
  enabled: boolean
  /** Whether its slots name ports: since it was first enabled. */
  published: boolean
  readonly ranges: Set<string>
}

/** A domain of the double. */
export interface DoubleDomain {
  virtualCpus: number
  flags: number
  pages: number
  maximumFrame: number
  /** As many as it has, unless given. */
  maximumPages?: number
}

/**
 * A double of Xen behind the double of the kernel: device model operations on domain 1, resources, and what is
 * known of domains, by the structures of Xen's public headers.
 */
export class XenKernel extends Kernel {
  readonly servers = new Map<number, DoubleServer>()
  readonly domains = new Map<number, DoubleDomain>([
    [1, { virtualCpus: 2, flags: 0, pages: 0x2000, maximumFrame: 0x41fff }],
  ])
  /** Levels that were set, in order. */
  readonly levels: (readonly [line: number, level: number])[] = []
  /** Version of the domain control interface. */
  interfaceVersion = 0x15
  /** When set, the errno of every device model operation. */
  refusal: number | undefined
  /** When set, the errno of every map of a resource. */
  resourceRefusal: number | undefined

  override ioctl(descriptor: number, request: number, argument: Uint8Array): number {
    const result = super.ioctl(descriptor, request, argument)
    if (result < 0) return result
    const view = new DataView(argument.buffer, argument.byteOffset)
    switch (request) {
      case DEVICE_MODEL_OPERATION:
        return this.#deviceModel(view)
      case MAP_RESOURCE:
        return this.#mapResource(view)
      case HYPERCALL:
        return this.#hypercall(view)
      default:
        return result
    }
  }

  #deviceModel(view: DataView): number {
    if (this.refusal !== undefined) return -this.refusal
    const domain = this.domains.get(view.getUint16(0, true))
    if (domain === undefined) return -ESRCH
    // The first operation of the first buffer, which the package puts right behind the descriptions.
    const operation = view.getUint32(32, true)
    const server = this.servers.get(view.getUint16(40, true))
    switch (operation) {
      case 1: {
        const id = [0, 1, 2, 3, 4, 5, 6, 7].find((each) => !this.servers.has(each))
        if (id === undefined) return -ENOSPC
        this.servers.set(id, { enabled: false, published: false, ranges: new Set() })
        view.setUint16(44, id, true)
        return 0
      }
      case 3:
      case 4: {
        if (server === undefined) return -ENOENT
        if (view.getUint32(44, true) !== 1) return -EINVAL
        const range = `${view.getBigUint64(48, true)}-${view.getBigUint64(56, true)}`
        if (operation === 4) return server.ranges.delete(range) ? 0 : -ENOENT
        if (server.ranges.has(range)) return -EEXIST
        server.ranges.add(range)
        return 0
      }
      case 5:
        if (server === undefined) return -ENOENT
        server.enabled = view.getUint8(42) === 1
        if (server.enabled) {
          server.published = true
          this.#publish(domain)
        }
        return 0
      case 6:
        return this.servers.delete(view.getUint16(40, true)) ? 0 : -ENOENT
      case 19: {
        const line = view.getUint32(40, true)
        if (line < 32 || line > 1019) return -EINVAL
        this.levels.push([line, view.getUint8(44)])
        return 0
      }
      case 20:
        view.setUint32(40, domain.virtualCpus, true)
        return 0
      default:
        return -constants.errno.EOPNOTSUPP
    }
  }

  #mapResource(view: DataView): number {
    if (this.resourceRefusal !== undefined) return -this.resourceRefusal
    const [type, id, index] = [4, 8, 12].map((at) => view.getUint32(at, true))
    const pages = view.getBigUint64(16, true)
    if (type !== 0 || index !== 1 || pages !== 1n) return -EINVAL
    const domain = this.domains.get(view.getUint16(0, true))
    if (domain === undefined) return -ESRCH
    const server = this.servers.get(id ?? -1)
    if (server === undefined) return -ENOENT
    this.fileOf(PRIVCMD_PATH).write(0, new Uint8Array(4096))
    if (server.published) this.#publish(domain)
    return 0
  }

  /** The ports of the slots: 20 for virtual CPU 0, 21 for 1, and so on. */
  #publish({ virtualCpus }: DoubleDomain): void {
    for (let virtualCpu = 0; virtualCpu < virtualCpus; virtualCpu++) {
      this.fileOf(PRIVCMD_PATH).write(32 * virtualCpu + 24, Uint8Array.of(20 + virtualCpu, 0, 0, 0))
    }
  }

  #hypercall(call: DataView): number {
    const file = this.fileOf(HYPERCALL_BUFFER_PATH)
    const bytes = new Uint8Array(4096)
    file.read(0, bytes)
    const view = new DataView(bytes.buffer)
    if (call.getBigUint64(0, true) === 12n) {
      const domain = this.domains.get(view.getUint16(0, true))
      return domain === undefined || call.getBigUint64(8, true) !== 14n
        ? -ESRCH
        : domain.maximumFrame
    }
    if (view.getUint32(0, true) !== 5) return -constants.errno.ENOSYS
    if (view.getUint32(4, true) !== this.interfaceVersion) return -EACCES
    const asked = view.getUint16(8, true)
    // As Xen 4.17: the next domain where there is none of the number.
    const [id, domain] =
      [...this.domains].toSorted(([a], [b]) => a - b).find(([each]) => each >= asked) ?? []
    if (id === undefined || domain === undefined) return -ESRCH
    view.setUint16(16, id, true)
    view.setUint32(20, domain.flags, true)
    view.setBigUint64(24, BigInt(domain.pages), true)
    view.setBigUint64(32, BigInt(domain.maximumPages ?? domain.pages), true)
    view.setUint32(80, domain.virtualCpus, true)
    view.setUint32(84, domain.virtualCpus - 1, true)
    file.write(0, bytes)
    return 0
  }
}
