import { InvalidArgumentError } from '@xmc/interface'
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
} from '../ring-layout.ts'
import { DeviceProtocolError, DmaBrokenError } from './errors.ts'
import { INDIRECT_TABLE_SIZE, type IndirectTable, IndirectTables } from './indirect-tables.ts'
import type { DmaDirection, DmaMapper, GuestFrame, GuestPages } from './ports.ts'
import { QueueNotifier } from './queue-notifier.ts'
import { type RingWriter, writeDescriptor } from './ring-writer.ts'
import type { DriverStatistics } from './statistics.ts'
import type { Watchdog } from './watchdog.ts'

/** Who gets the chains of a queue back. */
export interface QueueUser {
  /** The device has used the chain with this token; `length` bytes, by its own account, were written. */
  completed(token: number, length: number): void
  /** A reset took the chain with this token back, not completed. */
  takenBack(token: number, error: Error): void
  /**
   * The device was given up, or reset: nothing that it has will be completed, and nothing more may be asked of
   * it. What it has comes back with a reset.
   */
  fail?(error: Error): void
}

/** What a queue negotiated, and how it uses it. */
export interface QueuePolicy {
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIndex: boolean
  /** VIRTIO_F_INDIRECT_DESC was negotiated. */
  readonly indirectDescriptors: boolean
  /** Chains from this length on go through an indirect table; shorter ones while half of the queue is taken. */
  readonly indirectFrom: number
  /** Indirect tables stay with the device. */
  readonly keepTables: boolean
}

/** What a queue works with. */
export interface QueueParts {
  readonly index: number
  readonly ring: RingWriter
  readonly user: QueueUser
  readonly policy: QueuePolicy
  readonly pages: GuestPages
  readonly dma: DmaMapper
  readonly watchdog: Watchdog
  readonly statistics: DriverStatistics
  /** Writes QueueNotify. */
  readonly notify: () => Promise<void>
  /** Gives the device up. */
  readonly fail: (error: Error) => void
}

/**
 * The driver's side of a split virtqueue (virtio 1.2, 2.7): chains of buffers are built, made available,
 * and handed back when the device has used them, each buffer mapped for the device in between.
 *
 * A chain is built by `begin`, one `add` for each buffer, those that the device reads first
 * (2.7.4.2), and `commit`. A failing `add` or `commit` has undone the chain. What the driver needs to
 * know again is kept outside the ring's memory, so nothing that the device writes there is trusted.
 */
export class DriverVirtqueue {
  /** Number of the queue. */
  readonly index: number
  /** Elements. */
  readonly size: number
  /** The queue's memory, as tests of bad input want it. */
  readonly ring: RingWriter
  readonly #user: QueueUser
  readonly #policy: QueuePolicy
  readonly #dma: DmaMapper
  readonly #watchdog: Watchdog
  readonly #statistics: DriverStatistics
  readonly #notifier: QueueNotifier
  readonly #fail: (error: Error) => void
  readonly #tables: IndirectTables

  // By descriptor.
  readonly #next: Uint16Array
  /** Page that the buffer was mapped to, −1 when it is not the chain's to unmap. */
  readonly #mappedPage: Float64Array
  readonly #mappedOffset: Float64Array
  readonly #mappedLength: Float64Array
  // By the head of a chain in flight.
  readonly #token: Int32Array
  readonly #chainLength: Uint16Array
  readonly #last: Uint16Array
  readonly #since: Float64Array
  readonly #table: (IndirectTable | undefined)[]

  #freeHead = 0
  #freeCount: number
  #inFlight = 0
  #closed = false

  // The chain that is being built.
  #building: IndirectTable | undefined
  #head = 0
  #tail = 0
  #wanted = 0
  #added = 0

  #availableIndex = 0
  #lastUsed = 0

  constructor(parts: QueueParts) {
    this.index = parts.index
    this.ring = parts.ring
    this.#user = parts.user
    this.#policy = parts.policy
    this.#dma = parts.dma
    this.#watchdog = parts.watchdog
    this.#statistics = parts.statistics
    this.#notifier = new QueueNotifier({ ...parts, eventIndex: parts.policy.eventIndex })
    this.#fail = parts.fail
    this.#tables = new IndirectTables(parts.pages, parts.dma, parts.policy.keepTables)
    const size = this.ring.queueSize
    this.size = size
    this.#next = Uint16Array.from({ length: size }, (_, index) => index + 1)
    this.#mappedPage = new Float64Array(size)
    this.#mappedOffset = new Float64Array(size)
    this.#mappedLength = new Float64Array(size)
    this.#token = new Int32Array(size).fill(-1)
    this.#chainLength = new Uint16Array(size)
    this.#last = new Uint16Array(size)
    this.#since = new Float64Array(size)
    this.#table = Array.from({ length: size }, () => undefined)
    this.#freeCount = size
  }

  /** Descriptors that are free now. */
  get freeCount(): number {
    return this.#freeCount
  }

  /** Chains that the device has now. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Chains that the device has used and the driver has not yet taken back. */
  get unprocessed(): number {
    return (this.ring.usedIndex - this.#lastUsed) & 0xffff
  }

  /**
   * Starts a chain of `count` buffers; the caller adds exactly that many. False when there is no room
   * for it now.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a count outside 1 to the queue's size: no chain may be
   * longer, indirect or not (2.7.5.3.1)
   */
  begin(count: number): boolean {
    if (!(count >= 1 && count <= this.size)) {
      throw new InvalidArgumentError('count', `an integer from 1 to ${this.size}`, count)
    }
    const { indirectDescriptors, indirectFrom } = this.#policy
    this.#building = undefined
    if (
      indirectDescriptors &&
      count > 1 &&
      // A queue that fills up holds more requests when each takes one descriptor.
      (count >= indirectFrom || this.#freeCount - count < this.size / 2) &&
      count <= INDIRECT_TABLE_SIZE &&
      this.#freeCount > 0
    ) {
      this.#building = this.#tables.take()
    }
    if (this.#building === undefined && count > this.#freeCount) return false
    this.#head = this.#freeHead
    this.#tail = this.#freeHead
    this.#wanted = count
    this.#added = 0
    return true
  }

  /**
   * Maps a buffer for the device and adds it to the chain; it is unmapped when the chain comes back.
   * False when no address is left for it: the chain is undone, and may be tried again after others
   * have completed.
   *
   * @throws DmaBrokenError `ERR_XMC_DMA_BROKEN`, and what the mapper throws; the chain is undone
   */
  add(frame: GuestFrame, offset: number, length: number, direction: DmaDirection): boolean {
    let page: number
    try {
      page = this.#dma.map(frame, offset, length, direction)
    } catch (error) {
      this.#abandon()
      throw error
    }
    if (page < 0) {
      this.#undo()
      return false
    }
    this.#append(page, offset & 0xfff, length, direction !== 'to-device', page, offset)
    return true
  }

  /** Adds a buffer that the caller has mapped and keeps mapped. */
  addMapped(page: number, offset: number, length: number, deviceWrites: boolean): void {
    this.#append(page, offset, length, deviceWrites, -1, 0)
  }

  /**
   * Makes the chain available; `token`, an integer from 0, comes back with it. The device is notified,
   * unless it wants no notification, in a microtask: chains that are committed together need one. False
   * as for `add`.
   *
   * @throws as {@link DriverVirtqueue.add}
   */
  commit(token: number): boolean {
    const table = this.#building
    const head = this.#head
    if (table === undefined) {
      this.#last[head] = this.#tail
      this.#chainLength[head] = this.#added
      this.#take(this.#added)
    } else {
      if (!this.#commitTable(table)) return false
      this.#last[head] = head
      this.#chainLength[head] = 1
      this.#take(1)
    }
    this.#table[head] = table
    this.#building = undefined
    this.#token[head] = token
    this.#since[head] = this.#watchdog.turn
    this.#watchdog.begin()
    this.#inFlight++
    this.ring.setAvailableHead(this.#availableIndex, head)
    this.#availableIndex = (this.#availableIndex + 1) & 0xffff
    this.ring.availableIndex = this.#availableIndex
    this.#notifier.announce(this.#availableIndex)
    return true
  }

  /**
   * Takes back every chain that the device has used, and tells the user. An index, id or chain that
   * cannot be, or a buffer that the device still has, gives the device up.
   */
  process(): void {
    while (!this.#closed) {
      const pending = this.unprocessed
      if (pending === 0) return
      if (pending > this.#inFlight) {
        this.#fail(
          new DeviceProtocolError(
            '2.7.8',
            `used index ${this.ring.usedIndex} is ${pending} beyond the last, but ${this.#inFlight} chains are in flight`,
          ),
        )
        return
      }
      for (let i = 0; i < pending && !this.#closed; i++) {
        const head = this.ring.usedId(this.#lastUsed)
        const length = this.ring.usedLength(this.#lastUsed)
        const token = head < this.size ? (this.#token[head] ?? -1) : -1
        if (token < 0) {
          this.#fail(
            new DeviceProtocolError(
              '2.7.8',
              `used element ${this.#lastUsed} names ${head}, which is no chain in flight`,
            ),
          )
          return
        }
        this.#lastUsed = (this.#lastUsed + 1) & 0xffff
        this.#statistics.completions++
        if (!this.#giveBack(head)) {
          this.#fail(new DmaBrokenError())
          return
        }
        this.#user.completed(token, length)
      }
    }
  }

  /** Asks the device for no interrupts while used chains are processed anyway (2.7.7). */
  disableInterrupts(): void {
    // With the event index `used_event` stays behind, which is as good (2.7.7.2).
    if (!this.#policy.eventIndex) this.ring.availableFlags = VIRTQ_AVAIL_F_NO_INTERRUPT
  }

  /** Asks the device for an interrupt with the next chain. True when one came in the meantime. */
  enableInterrupts(): boolean {
    if (this.#policy.eventIndex) this.ring.usedEvent = this.#lastUsed
    else this.ring.availableFlags = 0
    return !this.#closed && this.unprocessed > 0
  }

  /** Whether a chain has been with the device for longer than the time limit. */
  hasOverdue(): boolean {
    for (let head = 0; head < this.size; head++) {
      if (this.#token[head] !== -1 && this.#watchdog.isOverdue(this.#since[head] ?? 0)) return true
    }
    return false
  }

  /** Nothing is processed or notified from now on: the device was given up. */
  stop(): void {
    if (this.#closed) return
    this.#closed = true
    this.#notifier.stop()
    for (let i = 0; i < this.#inFlight; i++) this.#watchdog.end()
  }

  /** Tells the user that the device was given up, or reset. */
  fail(error: Error): void {
    this.#user.fail?.(error)
  }

  /**
   * Takes chains and tables back from a device that was reset; the user is told of the chains, with
   * `error`. False when the device still had any of it.
   */
  close(error: Error): boolean {
    this.stop()
    let clean = true
    for (let head = 0; head < this.size; head++) {
      const token = this.#token[head] ?? -1
      if (token < 0) continue
      if (this.#giveBack(head)) this.#user.takenBack(token, error)
      else clean = false
    }
    if (!this.#tables.close()) clean = false
    return clean
  }

  #append(
    page: number,
    offsetInPage: number,
    length: number,
    deviceWrites: boolean,
    mappedPage: number,
    mappedOffset: number,
  ): void {
    const at = this.#added++
    const more = this.#added < this.#wanted
    const flags = (deviceWrites ? VIRTQ_DESC_F_WRITE : 0) | (more ? VIRTQ_DESC_F_NEXT : 0)
    const table = this.#building
    if (table === undefined) {
      const index = at === 0 ? this.#head : (this.#next[this.#tail] ?? 0)
      this.#tail = index
      this.#mappedPage[index] = mappedPage
      this.#mappedOffset[index] = mappedOffset
      this.#mappedLength[index] = length
      const next = more ? (this.#next[index] ?? 0) : 0
      this.ring.writeDescriptor(index, page, offsetInPage, length, flags, next)
    } else {
      table.count = this.#added
      table.pages[at] = mappedPage
      table.offsets[at] = mappedOffset
      table.lengths[at] = length
      writeDescriptor(table.view, at, page, offsetInPage, length, flags, more ? at + 1 : 0)
    }
  }

  #commitTable(table: IndirectTable): boolean {
    let mapped: boolean
    try {
      mapped = this.#tables.map(table)
    } catch (error) {
      this.#abandon()
      throw error
    }
    if (!mapped) {
      this.#undo()
      return false
    }
    const length = table.count * VIRTQ_DESC_SIZE
    this.ring.writeDescriptor(this.#head, table.page, 0, length, VIRTQ_DESC_F_INDIRECT, 0)
    this.#statistics.indirectChains++
    return true
  }

  #take(count: number): void {
    this.#freeHead = this.#next[this.#tail] ?? 0
    this.#freeCount -= count
  }

  /** Unmaps what was added to a chain that is not committed. */
  #undo(): void {
    const table = this.#building
    let clean: boolean
    if (table === undefined) clean = this.#unmapDescriptors(this.#head, this.#added)
    else {
      clean = this.#unmapTable(table)
      if (!this.#tables.give(table)) clean = false
      this.#building = undefined
    }
    this.#added = 0
    if (!clean) this.#fail(new DmaBrokenError())
  }

  /** Undoes the chain after an error of the mapper, which may be the end of it. */
  #abandon(): void {
    if (this.#dma.broken) this.#fail(new DmaBrokenError())
    else this.#undo()
  }

  /** Ends the mappings of a chain in flight and frees its descriptors. False when the device has any. */
  #giveBack(head: number): boolean {
    const table = this.#table[head]
    const length = this.#chainLength[head] ?? 0
    this.#token[head] = -1
    this.#inFlight--
    if (!this.#closed) this.#watchdog.end()
    if (table === undefined) {
      if (!this.#unmapDescriptors(head, length)) return false
    } else {
      this.#table[head] = undefined
      if (!this.#unmapTable(table) || !this.#tables.give(table)) return false
    }
    this.#next[this.#last[head] ?? head] = this.#freeHead
    this.#freeHead = head
    this.#freeCount += length
    return true
  }

  #unmapDescriptors(head: number, count: number): boolean {
    let index = head
    for (let i = 0; i < count; i++) {
      const page = this.#mappedPage[index] ?? -1
      const offset = this.#mappedOffset[index] ?? 0
      if (page >= 0 && !this.#dma.unmap(page, offset, this.#mappedLength[index] ?? 0)) return false
      index = this.#next[index] ?? 0
    }
    return true
  }

  #unmapTable(table: IndirectTable): boolean {
    for (let i = 0; i < table.count; i++) {
      const page = table.pages[i] ?? -1
      const offset = table.offsets[i] ?? 0
      if (page >= 0 && !this.#dma.unmap(page, offset, table.lengths[i] ?? 0)) return false
    }
    return true
  }
}
