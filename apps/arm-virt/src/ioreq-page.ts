/** Bytes of a request slot. */
const SLOT_BYTES = 32

// Offsets of fields in a slot (`struct ioreq` of Xen's public `hvm/ioreq.h`).
const ADDRESS = 0
const DATA = 8
const COUNT = 16
const SIZE = 20
/** The word with state (bits 16 to 19), data-is-pointer (20), direction (21), down (22) and type (24 to 31). */
const CONTROL_WORD = 7

const STATE_SHIFT = 16
const STATE_MASK = 0xf << STATE_SHIFT
const READY = 1
const IN_PROCESS = 2
const RESPONSE_READY = 3

/** Type of a request for memory-mapped I/O. */
export const IOREQ_TYPE_COPY = 1

/** Type of a request to drop what is mapped of the guest. */
export const IOREQ_TYPE_INVALIDATE = 8

/** A request, as it stood in its slot when it was taken. Numbers are unsigned. */
export interface IoRequest {
  /** 4 KiB page of the guest address, below 2^52. */
  readonly page: number
  /** Offset in the page. */
  readonly offset: number
  /** Value to write, or guest address of the data: bits 0 to 31. */
  readonly dataLow: number
  /** Bits 32 to 63. */
  readonly dataHigh: number
  /** Repetitions. */
  readonly count: number
  /** Bytes of each. */
  readonly size: number
  /** True when the data is in guest memory, at the address that `data` holds. */
  readonly dataIsPointer: boolean
  /** True when the guest reads. */
  readonly read: boolean
  /** True when repetitions go to lower addresses. */
  readonly down: boolean
  /** `IOREQ_TYPE_*`. */
  readonly type: number
}

/**
 * The page of request slots that an ioreq server shares with the hypervisor, from the device model's
 * side. The state of a slot is read and written by atomic operations, which order it against the plain
 * accesses to the other fields: the hypervisor fills a slot on another processor.
 */
export class IoreqPage {
  readonly #view: DataView
  readonly #words: Int32Array

  /** @param view the page, aligned to 4 bytes */
  constructor(view: DataView) {
    this.#view = view
    this.#words = new Int32Array(view.buffer, view.byteOffset, view.byteLength >>> 2)
  }

  /**
   * Takes the request out of the slot of a virtual CPU, every field read once, and marks the slot as in
   * process. Undefined when no request is ready there, as after a spurious event.
   *
   * @param again whether to take one that is in process, too: it was taken by a device model that did not
   * live to answer it
   */
  take(virtualCpu: number, again = false): IoRequest | undefined {
    const control = this.#loadControl(virtualCpu)
    const state = (control & STATE_MASK) >>> STATE_SHIFT
    if (state !== READY && !(again && state === IN_PROCESS)) return undefined
    const at = virtualCpu * SLOT_BYTES
    const view = this.#view
    const low = view.getUint32(at + ADDRESS, true)
    const high = view.getUint32(at + ADDRESS + 4, true)
    const request = {
      page: high * 2 ** 20 + (low >>> 12),
      offset: low & 0xfff,
      dataLow: view.getUint32(at + DATA, true),
      dataHigh: view.getUint32(at + DATA + 4, true),
      count: view.getUint32(at + COUNT, true),
      size: view.getUint32(at + SIZE, true),
      dataIsPointer: (control & 0x10_0000) !== 0,
      read: (control & 0x20_0000) !== 0,
      down: (control & 0x40_0000) !== 0,
      type: control >>> 24,
    }
    this.#storeState(virtualCpu, IN_PROCESS)
    return request
  }

  /** Puts the answer to a read into the slot; to be followed by `complete`. */
  setData(virtualCpu: number, low: number, high: number): void {
    const at = virtualCpu * SLOT_BYTES + DATA
    this.#view.setUint32(at, low, true)
    this.#view.setUint32(at + 4, high, true)
  }

  /** Marks the request of a slot as answered; the event channel is signalled afterwards. */
  complete(virtualCpu: number): void {
    this.#storeState(virtualCpu, RESPONSE_READY)
  }

  #loadControl(virtualCpu: number): number {
    return Atomics.load(this.#words, (virtualCpu * SLOT_BYTES) / 4 + CONTROL_WORD)
  }

  #storeState(virtualCpu: number, state: number): void {
    const control = this.#loadControl(virtualCpu)
    const word = (control & ~STATE_MASK) | (state << STATE_SHIFT)
    Atomics.store(this.#words, (virtualCpu * SLOT_BYTES) / 4 + CONTROL_WORD, word)
  }
}
