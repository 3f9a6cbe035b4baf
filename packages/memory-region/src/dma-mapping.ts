import { InvalidArgumentError, ReadOnlyError, ReleasedError, type XmcError } from '@xmc/interface'
import { callAll, throwAll } from './internal/call-all.ts'
import type { FlatRange } from './internal/flat-range.ts'
import { checkByteCount, hex, pagesOf } from './internal/page.ts'
import type { RoomQueue } from './internal/room-queue.ts'
import type { SlotAccount } from './internal/slot-budget.ts'
import type { MemoryRegion } from './memory-region.ts'
import type { MmioRegion } from './mmio-region.ts'
import type { RamRegion } from './ram-region.ts'

/** The length of a map by `tryMap`: what was asked for goes in, what was mapped comes out. */
export interface MappedLength {
  /** Bytes asked for; afterwards bytes mapped, 0 when nothing was. */
  length: number
  /**
   * Afterwards: why nothing was mapped. Also set when a bounce buffer stands for addresses that no
   * region has.
   */
  cause?: XmcError | undefined
}

/**
 * A range of an address space that a device may touch until it releases it: memory itself, or a bounce
 * buffer for what is not memory. It is for reading or for writing, not for both.
 *
 * Whoever maps releases, exactly once, also when the region has gone from the map meanwhile.
 */
export interface DmaMapping {
  /** The region behind it; undefined for a bounce buffer where no region is. */
  readonly region: MemoryRegion | undefined
  /** First address, in the address space it was mapped through. */
  readonly address: bigint
  /** Bytes; less than asked for where the memory is not contiguous. */
  readonly length: number
  /** Whether it was mapped for writing. */
  readonly write: boolean
  /** Whether the bytes are a copy, which is written to the region by the release. */
  readonly bounced: boolean
  /** True after `release`. */
  readonly released: boolean
  /** Host memory that the bytes lie in. */
  readonly view: DataView
  /** Byte of `view` at which they start. */
  readonly start: number
  /**
   * The bytes themselves. Do not keep the array over the release: it then shows other memory.
   *
   * The pages of a mapping for reading may be read-only: a store into them ends the process, and no
   * error can be thrown for it.
   *
   * @throws ReleasedError `ERR_XMC_RELEASED`
   */
  readonly bytes: Uint8Array
  /**
   * Says that the range stays mapped for long, as a ring does: nobody who waits for room counts on its
   * release. Has no effect after the first call, or after `release`.
   */
  keep(): void
  /**
   * Reports to the write listeners that `length` bytes from `offset` on were stored into memory that stays mapped,
   * as a ring does: what is stored is else reported by the release alone. Costs little when nobody
   * listens. Nothing is reported of a bounce buffer, whose bytes reach the region with the release.
   *
   * @throws ReleasedError `ERR_XMC_RELEASED`; ReadOnlyError `ERR_XMC_READ_ONLY`: it was mapped for reading
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: bytes outside of the mapping
   */
  wrote(offset: number, length: number): void
  /**
   * Gives the range back. `accessed` is the number of bytes from the start that were really written:
   * only they are reported as written, and only they go from a bounce buffer to the region. After
   * a mapping for reading it has no effect.
   *
   * @throws ReleasedError `ERR_XMC_RELEASED`: it was released before; nothing was done
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: not 0 to `length`; nothing was done
   * @throws UnmapFailedError of the backing, or what the region says of the bounced bytes: released nevertheless
   */
  release(accessed: number): void
}

/** @internal What a mapping needs of the address space it was made through. */
export interface MappingOwner {
  readonly name: string
  /** Whether writes are to be reported. */
  readonly watched: boolean
  /** Live mappings. */
  live: number
  /** Those of them that are kept for long. */
  kept: number
  /** Who waits for something to be released. */
  readonly room: RoomQueue
  write(page: number, offset: number, source: Uint8Array): void
  wrote(region: RamRegion | MmioRegion, page: number, offset: number, length: number): void
  /** Gives bounce bytes back. */
  returnBounce(length: number): void
}

const WRITE = 1
const RELEASED = 2
const KEPT = 4

/** @internal A mapping of memory itself: one object, of small integers. */
export class RamMapping implements DmaMapping {
  readonly length: number
  /** @internal */
  readonly owner: MappingOwner
  private readonly range: FlatRange
  private readonly backingPage: number
  private readonly windowPage: number
  private readonly offset: number
  private readonly account: SlotAccount | undefined
  private state: number
  private array: Uint8Array | undefined

  constructor(
    owner: MappingOwner,
    range: FlatRange,
    backingPage: number,
    windowPage: number,
    offset: number,
    length: number,
    write: boolean,
    account: SlotAccount | undefined,
  ) {
    this.length = length
    this.owner = owner
    this.range = range
    this.account = account
    this.backingPage = backingPage
    this.windowPage = windowPage
    this.offset = offset
    this.state = write ? WRITE : 0
    this.array = undefined
  }

  get region(): MemoryRegion {
    return this.range.region
  }

  get address(): bigint {
    return this.range.addressOf(this.backingPage, this.offset)
  }

  get write(): boolean {
    return (this.state & WRITE) !== 0
  }

  get bounced(): boolean {
    return false
  }

  get released(): boolean {
    return (this.state & RELEASED) !== 0
  }

  get view(): DataView {
    return this.range.backing!.view
  }

  get start(): number {
    return this.windowPage * 4096 + this.offset
  }

  get bytes(): Uint8Array {
    if ((this.state & RELEASED) !== 0) throw released(this.owner, this.address)
    if (this.array === undefined) {
      const { buffer, byteOffset } = this.range.backing!.view
      this.array = new Uint8Array(buffer, byteOffset + this.start, this.length)
    }
    return this.array
  }

  keep(): void {
    if ((this.state & (KEPT | RELEASED)) !== 0) return
    this.state |= KEPT
    this.owner.kept++
  }

  wrote(offset: number, length: number): void {
    const { state, owner } = this
    if (
      (state & (WRITE | RELEASED)) !== WRITE ||
      !(offset >= 0 && offset + length <= this.length)
    ) {
      checkWritten(this, offset, length)
    }
    if (owner.watched && length > 0) this.report(offset, length)
  }

  release(accessed: number): void {
    const { state, owner, range } = this
    if ((state & RELEASED) !== 0) throw released(owner, this.address)
    if (!(accessed >= 0 && accessed <= this.length && accessed === Math.floor(accessed))) {
      checkByteCount('accessed', accessed, 0, this.length)
    }
    this.state = state | RELEASED
    owner.live--
    if ((state & KEPT) !== 0) owner.kept--
    range.region.held--
    this.account?.give(this.windowPage, pagesOf(this.offset, this.length))
    if (owner.room.waiting) owner.room.released()
    if ((state & WRITE) !== 0 && accessed > 0 && owner.watched) {
      this.releaseWritten(accessed)
    } else {
      range.backing!.unlock(this.windowPage, this.offset)
    }
  }

  private releaseWritten(accessed: number): void {
    const unlock = (): void => this.range.backing!.unlock(this.windowPage, this.offset)
    const errors: unknown[] = []
    callAll([unlock, () => this.report(0, accessed)], errors)
    throwAll(errors)
  }

  private report(offset: number, length: number): void {
    const address = this.address + BigInt(offset)
    this.owner.wrote(this.range.region, Number(address >> 12n), Number(address & 4095n), length)
  }
}

/** @internal A mapping of what is not memory: a copy that is written back by the release. */
export class BounceMapping implements DmaMapping {
  readonly region: MemoryRegion | undefined
  readonly write: boolean
  readonly view: DataView
  readonly start = 0
  /** @internal */
  readonly owner: MappingOwner
  private readonly page: number
  private readonly offset: number
  private readonly data: Uint8Array
  private done = false
  private isKept = false

  constructor(
    owner: MappingOwner,
    region: MemoryRegion | undefined,
    page: number,
    offset: number,
    data: Uint8Array,
    write: boolean,
  ) {
    this.owner = owner
    this.region = region
    this.page = page
    this.offset = offset
    this.data = data
    this.write = write
    this.view = new DataView(data.buffer, data.byteOffset, data.length)
  }

  get address(): bigint {
    return (BigInt(this.page) << 12n) | BigInt(this.offset)
  }

  get length(): number {
    return this.data.length
  }

  get bounced(): boolean {
    return true
  }

  get released(): boolean {
    return this.done
  }

  get bytes(): Uint8Array {
    if (this.done) throw released(this.owner, this.address)
    return this.data
  }

  keep(): void {
    if (this.isKept || this.done) return
    this.isKept = true
    this.owner.kept++
  }

  wrote(offset: number, length: number): void {
    checkWritten(this, offset, length)
  }

  release(accessed: number): void {
    const { owner, data } = this
    if (this.done) throw released(owner, this.address)
    checkByteCount('accessed', accessed, 0, data.length)
    this.done = true
    owner.live--
    if (this.isKept) owner.kept--
    if (this.region !== undefined) this.region.held--
    if (owner.room.waiting) owner.room.released()
    const written = this.write ? accessed : 0
    const writeBack = (): void => owner.write(this.page, this.offset, data.subarray(0, written))
    const errors: unknown[] = []
    callAll([writeBack, () => owner.returnBounce(data.length)], errors)
    throwAll(errors)
  }
}

/** @internal Checks that `mapping` was made through `owner`. */
export function checkOwner(mapping: DmaMapping, owner: MappingOwner): void {
  const known = mapping instanceof RamMapping || mapping instanceof BounceMapping
  if (!known || mapping.owner !== owner) {
    throw new InvalidArgumentError('mapping', `a mapping made by ${owner.name}`, mapping)
  }
}

/** Checks that bytes of a mapping may have been stored. */
function checkWritten(mapping: RamMapping | BounceMapping, offset: number, length: number): void {
  if (mapping.released) throw released(mapping.owner, mapping.address)
  if (!mapping.write) {
    throw new ReadOnlyError(`${mapping.owner.name}: the mapping of ${hex(mapping.address)}`)
  }
  checkByteCount('offset', offset, 0, mapping.length)
  checkByteCount('length', length, 0, mapping.length - offset)
}

function released(owner: MappingOwner, address: bigint): ReleasedError {
  return new ReleasedError(`${owner.name}: the mapping of ${hex(address)}`)
}
