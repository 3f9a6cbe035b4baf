import type { Device } from './device.ts'
import { requestNumber, setUint64 } from './layout.ts'
import type { Scratch } from './scratch.ts'

/** `IOCTL_PRIVCMD_DM_OP`: an operation of a device model on its guest. */
export const DEVICE_MODEL_OPERATION: number = requestNumber('P', 5, 16)

// Numbers of operations (Xen's public `hvm/dm_op.h`).
const CREATE_IOREQ_SERVER = 1
const MAP_IO_RANGE = 3
const UNMAP_IO_RANGE = 4
const SET_IOREQ_SERVER_STATE = 5
const DESTROY_IOREQ_SERVER = 6
const SET_IRQ_LEVEL = 19
const NR_VCPUS = 20

/** `XEN_DMOP_IO_RANGE_MEMORY` */
const MEMORY_RANGE = 1

// Places in the scratch memory: `struct privcmd_dm_op`, its one buffer, and in that `struct xen_dm_op`.
const BUFFER = 16
const OPERATION = 32
const PAYLOAD = OPERATION + 8
const OPERATION_BYTES = 32
const TOTAL_BYTES = OPERATION + OPERATION_BYTES

/** The device model operations on one guest. Each gives a negative errno when Xen refuses. */
export class DeviceModelOperations {
  readonly #device: Device
  readonly #scratch: Scratch
  readonly #domain: number

  constructor(device: Device, scratch: Scratch, domain: number) {
    this.#device = device
    this.#scratch = scratch
    this.#domain = domain
  }

  /** Gives the number of a new server without a buffered page. */
  createIoreqServer(): number {
    const view = this.#begin(CREATE_IOREQ_SERVER)
    const result = this.#call(view)
    return result < 0 ? result : view.getUint16(PAYLOAD + 4, true)
  }

  mapIoRange(server: number, first: bigint, last: bigint): number {
    return this.#range(MAP_IO_RANGE, server, first, last)
  }

  unmapIoRange(server: number, first: bigint, last: bigint): number {
    return this.#range(UNMAP_IO_RANGE, server, first, last)
  }

  setIoreqServerState(server: number, enabled: boolean): number {
    const view = this.#begin(SET_IOREQ_SERVER_STATE)
    view.setUint16(PAYLOAD, server, true)
    view.setUint8(PAYLOAD + 2, enabled ? 1 : 0)
    return this.#call(view)
  }

  destroyIoreqServer(server: number): number {
    const view = this.#begin(DESTROY_IOREQ_SERVER)
    view.setUint16(PAYLOAD, server, true)
    return this.#call(view)
  }

  setIrqLevel(line: number, high: boolean): number {
    const view = this.#begin(SET_IRQ_LEVEL)
    view.setUint32(PAYLOAD, line, true)
    view.setUint8(PAYLOAD + 4, high ? 1 : 0)
    return this.#call(view)
  }

  /** Gives the number of virtual CPUs that the guest was made with. */
  virtualCpus(): number {
    const view = this.#begin(NR_VCPUS)
    const result = this.#call(view)
    return result < 0 ? result : view.getUint32(PAYLOAD, true)
  }

  #range(operation: number, server: number, first: bigint, last: bigint): number {
    const view = this.#begin(operation)
    view.setUint16(PAYLOAD, server, true)
    view.setUint32(PAYLOAD + 4, MEMORY_RANGE, true)
    view.setBigUint64(PAYLOAD + 8, first, true)
    view.setBigUint64(PAYLOAD + 16, last, true)
    return this.#call(view)
  }

  #begin(operation: number): DataView<ArrayBuffer> {
    const view = this.#scratch.take(TOTAL_BYTES)
    const { address } = this.#scratch
    for (let i = 0; i < TOTAL_BYTES; i += 4) view.setUint32(i, 0, true)
    view.setUint16(0, this.#domain, true)
    view.setUint16(2, 1, true)
    setUint64(view, 8, address + BUFFER)
    setUint64(view, BUFFER, address + OPERATION)
    setUint64(view, BUFFER + 8, OPERATION_BYTES)
    view.setUint32(OPERATION, operation, true)
    return view
  }

  #call(view: DataView<ArrayBuffer>): number {
    return this.#device.ioctl(DEVICE_MODEL_OPERATION, new Uint8Array(view.buffer, 0, TOTAL_BYTES))
  }
}

/**
 * Asks a domain that does not exist for its virtual CPUs: `ESRCH` says that this Xen has device model
 * operations, `ENOSYS` that it has not. Gives the positive errno.
 */
export function probeDeviceModels(device: Device, scratch: Scratch): number {
  return -new DeviceModelOperations(device, scratch, LAST_DOMAIN).virtualCpus()
}

/** `DOMID_FIRST_RESERVED` − 1, which no toolstack gets to. */
const LAST_DOMAIN = 0x7fef
