import { requestNumber, setUint64 } from './layout.ts'

/** The device whose mappings are memory that a hypercall can point to: it stays where it is. */
export const HYPERCALL_BUFFER_PATH = '/dev/xen/hypercall'

/** `IOCTL_PRIVCMD_HYPERCALL`: makes a hypercall, and returns what it returns. */
export const HYPERCALL: number = requestNumber('P', 0, 48)

/** `__HYPERVISOR_memory_op` */
const MEMORY_OPERATION = 12

/** `__HYPERVISOR_domctl` */
const DOMAIN_CONTROL = 36

/** `XENMEM_maximum_gpfn` */
const MAXIMUM_FRAME = 14

/** `XEN_DOMCTL_getdomaininfo` */
const GET_DOMAIN_INFORMATION = 5

/** Offset of what an operation is about in `struct xen_domctl`. */
const DOMCTL_PAYLOAD = 16

/** Bytes of `struct xen_domctl`. */
const DOMCTL_BYTES = 144

/** `XEN_DOMINF_dying`, `XEN_DOMINF_shutdown`, `XEN_DOMINF_paused` */
const DYING = 1 << 0
const SHUTDOWN = 1 << 2
const PAUSED = 1 << 3

/** Where in the flags the code of a shutdown is: 8 bits. */
const SHUTDOWN_CODE_SHIFT = 16

/** What Xen knows of a domain. */
export interface DomainInformation {
  /** Its number. */
  readonly domain: number
  /** Whether it is being destroyed. */
  readonly dying: boolean
  /** The code of its shutdown (`SHUTDOWN_*`: 0 for power-off, 1 reboot, 3 crash); undefined while it has not shut down. */
  readonly shutdownCode: number | undefined
  /** Whether it was paused from outside. */
  readonly paused: boolean
  /** Pages of memory that it has now. */
  readonly pages: number
  /** Most pages of memory that it may have, which the toolstack decides; it may have fewer, with a balloon. */
  readonly maximumPages: number
  /** Virtual CPUs that it was made with. */
  readonly virtualCpus: number
}

/** `struct privcmd_hypercall` for a memory operation whose structure is at a host virtual address. */
export function maximumFrameCall(address: number): Uint8Array {
  return hypercall(MEMORY_OPERATION, MAXIMUM_FRAME, address)
}

/** Writes what {@link maximumFrameCall} points to: the domain. */
export function writeMaximumFrame(view: DataView, domain: number): void {
  view.setUint16(0, domain, true)
}

/** `struct privcmd_hypercall` for a domain control operation whose structure is at a host virtual address. */
export function domainControlCall(address: number): Uint8Array {
  return hypercall(DOMAIN_CONTROL, address)
}

/** Writes `struct xen_domctl` that asks for what is known of a domain, in one version of the interface. */
export function writeGetDomainInformation(view: DataView, version: number, domain: number): void {
  for (let i = 0; i < DOMCTL_BYTES; i += 4) view.setUint32(i, 0, true)
  view.setUint32(0, GET_DOMAIN_INFORMATION, true)
  view.setUint32(4, version, true)
  view.setUint16(8, domain, true)
}

/** Reads the answer: the first fields of `struct xen_domctl_getdomaininfo`, the same in all versions that are asked for. */
export function readDomainInformation(view: DataView): DomainInformation {
  const flags = view.getUint32(DOMCTL_PAYLOAD + 4, true)
  return {
    domain: view.getUint16(DOMCTL_PAYLOAD, true),
    dying: (flags & DYING) !== 0,
    shutdownCode: (flags & SHUTDOWN) === 0 ? undefined : (flags >>> SHUTDOWN_CODE_SHIFT) & 0xff,
    paused: (flags & PAUSED) !== 0,
    pages: Number(view.getBigUint64(DOMCTL_PAYLOAD + 8, true)),
    maximumPages: Number(view.getBigUint64(DOMCTL_PAYLOAD + 16, true)),
    virtualCpus: view.getUint32(DOMCTL_PAYLOAD + 68, true) + 1,
  }
}

function hypercall(operation: number, ...parameters: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(48))
  setUint64(view, 0, operation)
  for (const [index, parameter] of parameters.entries()) setUint64(view, 8 + 8 * index, parameter)
  return new Uint8Array(view.buffer)
}
