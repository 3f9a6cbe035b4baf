import type { QueueDeclaration } from '../device.ts'
import { VirtqueueError } from '../errors.ts'
import { VIRTQ_DESC_SIZE } from '../ring-layout.ts'
import type { SplitQueue } from '../split-queue.ts'
import type { TurnBudget } from '../turn-budget.ts'
import type { BufferPart } from './buffer-part.ts'
import { type ChainLimits, type DescriptorBlock, type IndirectTable, walk } from './chain-walk.ts'
import { formatAddress } from './device-address.ts'
import { isPagedOut, messageOf, shortageOf } from './error-parts.ts'
import { COPY_LIMIT, type GuestMapper } from './guest-mapper.ts'
import { BUFFER_BYTES, type QueueRequest } from './queue-request.ts'

/** What the memory of requests needs of their transport. */
export interface RequestMemoryHost {
  readonly mapper: GuestMapper
  readonly budget: TurnBudget
  /** Counts bytes of requests in flight, up or down. */
  account(bytes: number): void
}

/** Called when what a request waited for has come back. */
export type Wake = (request: QueueRequest) => void

const REQUEST_BYTES = 64 * 1024 * 1024

/** Descriptors of an indirect table that are read at a time: a page of them. */
const BLOCK = 256

/** Units of work of reading such a block, and of a buffer that cannot be mapped. */
const BLOCK_UNITS = 4
/** Units of work of the release of some pieces of a buffer. */
const PIECES_UNITS = 64
const REFUSED_UNITS = 4

/** Units of work that are counted at a time: a call for each buffer would cost as much as a small buffer. */
const BATCH_UNITS = 16

/** Buffers of a request that are mapped asynchronously at a time. */
const MAPS_AT_A_TIME = 64

/** Bytes of a buffer that count as a unit of work, up to so many of them: pages are granted one by one. */
const UNIT_BYTES_EXPONENT = 14
const MOST_UNIT_BYTES = 2 ** 20

/**
 * The guest's memory of the requests of one queue: reads their descriptors, maps their buffers and gives
 * them back, in steps that stop when the turn's budget is spent, and go on where they stopped.
 */
export class RequestMemory {
  private readonly host: RequestMemoryHost
  private readonly requestBytes: number
  private limits: ChainLimits
  private scratch: { readonly bytes: Uint8Array; readonly view: DataView } | undefined

  constructor(index: number, declaration: QueueDeclaration, host: RequestMemoryHost) {
    this.host = host
    this.requestBytes = declaration.requestBytes ?? REQUEST_BYTES
    this.limits = { queue: index, descriptors: declaration.size, indirect: false }
  }

  /** Whether VIRTIO_F_INDIRECT_DESC was negotiated. */
  set indirect(indirect: boolean) {
    this.limits = { ...this.limits, indirect }
  }

  /**
   * Reads a request's descriptors, and begins to map.
   *
   * @returns false when it waits, for a table (`pending`) or for a turn
   * @throws VirtqueueError
   */
  walk(request: QueueRequest, ring: SplitQueue, wake: Wake): boolean {
    for (;;) {
      const { table } = request
      const block = table === undefined ? ring.descriptors : this.blockOf(request, table, wake)
      if (block === undefined) return false
      // Reading a table may have reset the device.
      if (request.abandoned) return true
      const count = table === undefined ? ring.size : table.count
      const result = walk(request, block, count, this.limits, this.host.budget)
      if (result === 'spent') return false
      if (result === 'end') break
    }
    request.refuseOver(this.requestBytes, COPY_LIMIT)
    request.accounted =
      request.readableLength + request.writableLength + request.bufferCount * BUFFER_BYTES
    this.host.account(request.accounted)
    request.begin('map')
    return true
  }

  /**
   * Maps a request's buffers, or notes which cannot be used, and why: `shortage` where that may pass.
   *
   * @returns false when it waits, for maps (`pending`) or for a turn
   */
  map(request: QueueRequest, wake: Wake): boolean {
    const { refused } = request
    if (refused !== undefined) {
      request.refused = undefined
      if (this.refuses(request, refused.part, refused.error)) return true
    }
    if (request.asynchronous) return this.mapAsync(request, wake)
    const { mapper, budget } = this.host
    let units = 0
    for (let part = request.cursor; part !== undefined; part = request.cursor) {
      if (budget.spent) return false
      try {
        units += unitsOf(part)
        if (part.map(mapper)) request.advance(part)
        if (units >= BATCH_UNITS) {
          budget.spend(units)
          units = 0
        }
      } catch (error) {
        budget.spend(REFUSED_UNITS)
        if (isPagedOut(error)) {
          request.advance(part)
          this.mapPart(request, part, wake)
          return false
        }
        if (this.refuses(request, part, error)) return true
      }
      if (request.abandoned) break
    }
    budget.spend(units + 1)
    return true
  }

  /**
   * Gives a request's memory back: all of it, or in stage `retreat` what is mapped.
   *
   * @returns false when it waits for a turn, or, with `shortage`, for room to write copies back
   */
  release(request: QueueRequest): boolean {
    const { mapper, budget } = this.host
    const retreat = request.stage === 'retreat'
    let units = 1
    for (let part = request.cursor; part !== undefined; part = request.cursor) {
      if (budget.spent) return false
      units += unitsOf(part)
      const failed = retreat ? part.retreat(mapper) : part.release(mapper, request.wanted)
      const more = retreat ? part.mapped : part.held
      if (failed === undefined) {
        if (more) units = PIECES_UNITS
        else request.advance(part)
      } else if (!retreat && more && request.wanted && shortageOf(failed) !== undefined) {
        // Others are given back before it waits.
        request.shortage = failed
        request.advance(part)
      } else request.unreleased ??= failed
      if (units >= BATCH_UNITS) {
        budget.spend(units)
        units = 0
      }
    }
    budget.spend(units + 1)
    return retreat || request.shortage === undefined
  }

  /** A request waits for room no longer: it fails where it stood. */
  giveUp(request: QueueRequest): void {
    const { shortage } = request
    request.shortage = undefined
    if (request.stage === 'release') {
      request.unreleased ??= shortage instanceof Error ? shortage : new Error(messageOf(shortage))
      request.forgetCopies()
      request.begin('release')
    } else if (request.resumed === 'walk') {
      request.failure = shortage
      request.begin('release')
    } else {
      request.begin('map')
      const part = request.firstUnsettled()
      if (part !== undefined) request.refuseFrom(part, shortage)
    }
  }

  /** Drops a request that has nothing mapped. */
  forget(request: QueueRequest): void {
    this.host.account(-request.accounted)
    request.begin('release')
    request.forgetCopies()
  }

  private mapAsync(request: QueueRequest, wake: Wake): boolean {
    const { budget } = this.host
    for (
      let part = request.cursor;
      part !== undefined && request.pending < MAPS_AT_A_TIME && !budget.spent;
      part = request.cursor
    ) {
      request.advance(part)
      if (part.settled) continue
      budget.spend(unitsOf(part))
      this.mapPart(request, part, wake)
    }
    return request.pending === 0 && request.cursor === undefined
  }

  /** Maps a buffer asynchronously; when it was the last that was awaited, the request is woken. */
  private mapPart(request: QueueRequest, part: BufferPart, wake: Wake): void {
    request.pending += 1
    this.mapPieces(request, part, wake)
  }

  /** Maps the pieces of a buffer one after the other: where a piece ends is known when it is mapped. */
  private mapPieces(request: QueueRequest, part: BufferPart, wake: Wake): void {
    const { mapper, budget } = this.host
    const came = (whole: boolean): void => {
      if (whole || request.abandoned || request.refused !== undefined) {
        request.pending -= 1
        if (request.pending === 0) wake(request)
      } else if (budget.spend(1)) {
        budget.wait({ continue: () => this.mapPieces(request, part, wake) })
      } else this.mapPieces(request, part, wake)
    }
    part.mapAsync(mapper).then(came, (error: unknown) => {
      request.refused ??= { part, error }
      came(true)
    })
  }

  /** Notes that a buffer cannot be mapped. Returns whether the request may wait for room. */
  private refuses(request: QueueRequest, part: BufferPart, error: unknown): boolean {
    if (!request.abandoned && shortageOf(error) !== undefined) {
      request.shortage = error
      return true
    }
    request.refuseFrom(part, error)
    return false
  }

  /** The part of a table that the request's next descriptor is in; undefined while it is being read. */
  private blockOf(
    request: QueueRequest,
    table: IndirectTable,
    wake: Wake,
  ): DescriptorBlock | undefined {
    const { block, tableError, descriptor } = request
    if (tableError !== undefined) {
      request.tableError = undefined
      throw this.unreadable(table, tableError.error)
    }
    if (block !== undefined) {
      request.block = undefined
      return block
    }
    if (descriptor >= table.count) return NOTHING
    const first = descriptor - (descriptor % BLOCK)
    const end = Math.min(first + BLOCK, table.count)
    const start = table.offset + first * VIRTQ_DESC_SIZE
    const page = table.page + Math.floor(start / 4096)
    const length = (end - first) * VIRTQ_DESC_SIZE
    this.host.budget.spend(BLOCK_UNITS)
    if (!request.asynchronous) {
      const { bytes, view } = this.scratchOf()
      try {
        const target = length === bytes.length ? bytes : bytes.subarray(0, length)
        this.host.mapper.read(page, start % 4096, target)
        return { view, first, end }
      } catch (error) {
        if (!isPagedOut(error)) throw this.unreadable(table, error)
      }
    }
    const copy = new Uint8Array(length)
    const came = (): void => {
      request.pending -= 1
      request.block = { view: new DataView(copy.buffer), first, end }
      wake(request)
    }
    request.pending += 1
    this.host.mapper.readAsync(page, start % 4096, copy).then(came, (error: unknown) => {
      request.pending -= 1
      request.tableError = { error }
      wake(request)
    })
    return undefined
  }

  /** Where blocks are read to: they are walked at once, and what is called meanwhile does not walk. */
  private scratchOf(): { readonly bytes: Uint8Array; readonly view: DataView } {
    if (this.scratch === undefined) {
      const bytes = new Uint8Array(BLOCK * VIRTQ_DESC_SIZE)
      this.scratch = { bytes, view: new DataView(bytes.buffer) }
    }
    return this.scratch
  }

  private unreadable(table: IndirectTable, cause: unknown): VirtqueueError {
    const where = (): string => formatAddress(table.page, table.offset)
    return new VirtqueueError(
      this.limits.queue,
      'indirect-unmapped',
      () => `the indirect table at ${where()} cannot be read (${messageOf(cause)})`,
      { cause },
    )
  }
}

/** No descriptors: for a `next` that leads out of its table. */
const NOTHING: DescriptorBlock = { view: new DataView(new ArrayBuffer(0)), first: 0, end: 0 }

function unitsOf({ length }: BufferPart): number {
  return 1 + (Math.min(length, MOST_UNIT_BYTES) >>> UNIT_BYTES_EXPONENT)
}
