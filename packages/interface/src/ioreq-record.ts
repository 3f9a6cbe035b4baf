/** Bytes of one request slot; slot `n` of the page belongs to virtual CPU `n`. */
export const IOREQ_SLOT_SIZE = 32

/** Slots, hence virtual CPUs, that one page holds. */
export const IOREQ_SLOTS_PER_PAGE = 128

/** States of a slot. */
export const IOREQ_STATE = {
  /** Empty. */
  none: 0,
  /** Xen has filled it. */
  ready: 1,
  /** The device model has taken it. */
  in_process: 2,
  /** The device model has answered. */
  response_ready: 3,
} as const

/** Types of a request that occur here. */
export const IOREQ_TYPE = {
  /** Port I/O. */
  pio: 0,
  /** Memory-mapped I/O. */
  copy: 1,
  /** The device model shall drop what it has mapped of the guest. */
  invalidate: 8,
} as const

/** A request as a slot holds it (`struct ioreq` of Xen's public `hvm/ioreq.h`), little endian. */
export interface Ioreq {
  /** Guest address; 64 bits at byte 0. */
  readonly address: bigint
  /** Value written, or the answer to a read; 64 bits at byte 8. */
  readonly data: bigint
  /** Repetitions, 1 here; 32 bits at byte 16. */
  readonly count: number
  /** Bytes: 1, 2, 4 or 8; 32 bits at byte 20. */
  readonly size: number
  /** The guest's end of the virtual CPU's event channel; 32 bits at byte 24. */
  readonly eventChannel: number
  /** Bits 0 to 3 of byte 30, one of {@link IOREQ_STATE}. */
  readonly state: number
  /** True when `data` is the guest address of the data; bit 4 of byte 30. */
  readonly dataIsPointer: boolean
  /** True for a write; bit 5 of byte 30, which is 1 for a read. */
  readonly write: boolean
  /** Byte 31, one of {@link IOREQ_TYPE}. */
  readonly type: number
}

/** Reads a slot of an ioreq page, every field once. */
export function readIoreq(page: DataView, vcpu: number): Ioreq {
  const at = vcpu * IOREQ_SLOT_SIZE
  const bits = page.getUint8(at + 30)
  return {
    address: page.getBigUint64(at, true),
    data: page.getBigUint64(at + 8, true),
    count: page.getUint32(at + 16, true),
    size: page.getUint32(at + 20, true),
    eventChannel: page.getUint32(at + 24, true),
    state: bits & 0xf,
    dataIsPointer: (bits & 0x10) !== 0,
    write: (bits & 0x20) === 0,
    type: page.getUint8(at + 31),
  }
}

/** Writes all of a slot but its event channel, the byte with the state last. */
export function writeIoreq(page: DataView, vcpu: number, ioreq: Omit<Ioreq, 'eventChannel'>): void {
  const at = vcpu * IOREQ_SLOT_SIZE
  page.setBigUint64(at, ioreq.address, true)
  page.setBigUint64(at + 8, ioreq.data, true)
  page.setUint32(at + 16, ioreq.count, true)
  page.setUint32(at + 20, ioreq.size, true)
  page.setUint8(at + 31, ioreq.type)
  const bits = ioreq.state | (ioreq.dataIsPointer ? 0x10 : 0) | (ioreq.write ? 0 : 0x20)
  page.setUint8(at + 30, bits)
}

/**
 * The device model's first step: takes the request out of a virtual CPU's slot, read once, and marks
 * the slot as in process. Undefined when no request is ready, as after a spurious event.
 */
export function takeIoreq(page: DataView, vcpu: number): Ioreq | undefined {
  const ioreq = readIoreq(page, vcpu)
  if (ioreq.state !== IOREQ_STATE.ready) return undefined
  setIoreqState(page, vcpu, IOREQ_STATE.in_process)
  return ioreq
}

/**
 * The device model's last step: puts the answer into the slot and marks it so. The caller signals the
 * virtual CPU's event channel afterwards. `data` is the value of a read; without it the slot keeps
 * what it holds.
 */
export function completeIoreq(page: DataView, vcpu: number, data?: bigint): void {
  if (data !== undefined) page.setBigUint64(vcpu * IOREQ_SLOT_SIZE + 8, data, true)
  setIoreqState(page, vcpu, IOREQ_STATE.response_ready)
}

/** Changes the state of a slot and nothing else. */
export function setIoreqState(page: DataView, vcpu: number, state: number): void {
  const at = vcpu * IOREQ_SLOT_SIZE + 30
  page.setUint8(at, (page.getUint8(at) & 0xf0) | state)
}

/** Sets the event channel that a slot names. */
export function setIoreqEventChannel(page: DataView, vcpu: number, port: number): void {
  page.setUint32(vcpu * IOREQ_SLOT_SIZE + 24, port, true)
}
