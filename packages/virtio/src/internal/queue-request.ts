import { InvalidArgumentError } from '@xmc/interface'
import { DescriptorChain } from '../descriptor-chain.ts'
import { GuestBufferError } from '../errors.ts'
import type { BufferPart } from './buffer-part.ts'
import type { DescriptorBlock, IndirectTable } from './chain-walk.ts'
import { COPY_LIMIT } from './guest-mapper.ts'

/** The time from when a queue is made ready until it is taken away; what it began belongs to it. */
export class QueueEpoch {
  live = true
}

/**
 * How far a request is.
 *
 * | stage | what is done |
 * |---|---|
 * | `walk` | its descriptors are read |
 * | `map` | its buffers are mapped |
 * | `retreat` | the host has no room: what is mapped is given back, to wait with nothing |
 * | `serve` | the device works on it |
 * | `release` | its memory is given back; then it is published |
 */
export type RequestStage = 'walk' | 'map' | 'retreat' | 'serve' | 'release'

/**
 * Bytes that a buffer counts in flight, beside its own: what the host keeps for it. Measured are 600 to 900 bytes
 * of heap on Node 20, for a buffer that is mapped and whose memory a device holds.
 */
export const BUFFER_BYTES = 1024

/** One request as its queue sees it: its way through the stages, each of which may be left and taken up again. */
export class QueueRequest extends DescriptorChain {
  readonly epoch: QueueEpoch
  /** Place among the requests of the queue. */
  readonly sequence: number
  stage: RequestStage = 'walk'
  /** Whether memory is mapped by `mapAsync`. */
  asynchronous: boolean
  /** Descriptor to be read next. */
  descriptor: number
  /** Descriptors of the table that were read. */
  steps = 0
  /** The table that the chain goes on in. */
  table: IndirectTable | undefined = undefined
  /** A block of the table that came asynchronously, or why none did. */
  block: DescriptorBlock | undefined = undefined
  tableError: { readonly error: unknown } | undefined = undefined
  /** Buffer that the stage goes on with. */
  cursor: BufferPart | undefined = undefined
  /** Asynchronous maps that have not come back. */
  pending = 0
  /** The first buffer that failed of those that are mapped asynchronously. */
  refused: { readonly part: BufferPart; readonly error: unknown } | undefined = undefined
  /** Bytes that count against what may be in flight. */
  accounted = 0
  bufferCount = 0
  /** What the device answered. */
  written = 0
  /** Why there is no answer to publish. */
  failure: unknown = undefined
  /** What failed first when memory was given back. */
  unreleased: Error | undefined = undefined
  /** Why the stage cannot go on until there is room. */
  shortage: unknown = undefined
  /** The stage that goes on when there is room. */
  resumed: RequestStage = 'walk'
  /** When it began to wait for room, in ms; -1 when it does not. */
  waitingSince = -1
  /** What says whether nothing beside it took memory since it began to. */
  begun = -1
  private last: BufferPart | undefined = undefined

  constructor(
    queue: number,
    head: number,
    epoch: QueueEpoch,
    sequence: number,
    asynchronous: boolean,
  ) {
    super(queue, head)
    this.descriptor = head
    this.epoch = epoch
    this.sequence = sequence
    this.asynchronous = asynchronous
  }

  get abandoned(): boolean {
    return !this.epoch.live
  }

  /** Whether its answer is to be published. */
  get wanted(): boolean {
    return this.epoch.live && this.failure === undefined
  }

  /** Appends a buffer; device-readable ones come first. */
  add(part: BufferPart): void {
    if (part.writable) {
      this.firstWritable ??= part
      this.writableLength += part.length
    } else {
      this.firstReadable ??= part
      this.readableLength += part.length
    }
    // The device-readable ones end where the device-writable ones begin.
    if (this.last !== undefined && this.last.writable === part.writable) this.last.next = part
    this.last = part
    this.bufferCount += 1
  }

  /** Starts a stage at the first buffer. */
  begin(stage: RequestStage): void {
    this.stage = stage
    this.cursor = this.first
    if (stage === 'release') this.live = false
  }

  /** Takes what the device answered: so many bytes written, or why there is no answer. */
  answer(written: number, failure: unknown): void {
    const { writableLength } = this
    const possible = Number.isInteger(written) && written >= 0 && written <= writableLength
    this.written = written
    this.failure = failure ?? (possible ? undefined : wrongCount(writableLength, written))
    this.begin('release')
  }

  /** Goes on to the buffer behind `part`. */
  advance(part: BufferPart): void {
    this.cursor = this.behind(part)
  }

  /** Makes every buffer over `small` bytes unusable, when the whole chain is over `limit` bytes. */
  refuseOver(limit: number, small: number): void {
    const total = this.readableLength + this.writableLength
    if (total <= limit) return
    const cause = new RangeError(`the request has ${total} bytes, the device takes ${limit}`)
    let failure: GuestBufferError | undefined
    for (let part = this.first; part !== undefined; part = this.behind(part)) {
      if (part.length <= small) continue
      failure ??= new GuestBufferError(this.queue, part, cause)
      part.refuse(failure)
    }
  }

  /**
   * A buffer cannot be mapped: no further one is, but for a small last one, where a device says that
   * the request failed. All others that are not mapped fail as this one does.
   */
  refuseFrom(part: BufferPart, cause: unknown): void {
    const failure = new GuestBufferError(this.queue, part, cause)
    const { last } = this
    for (let each = this.first; each !== undefined; each = this.behind(each)) {
      if (!each.settled && (each !== last || each === part || !isStatus(each))) each.refuse(failure)
    }
    this.cursor = last !== undefined && !last.settled ? last : undefined
  }

  /** The first buffer with something left to be mapped. */
  firstUnsettled(): BufferPart | undefined {
    let part = this.first
    while (part?.settled) part = this.behind(part)
    return part
  }

  /** Forgets copies: they are not written back. */
  forgetCopies(): void {
    for (let part = this.first; part !== undefined; part = this.behind(part)) part.forget()
  }

  private get first(): BufferPart | undefined {
    return this.firstReadable ?? this.firstWritable
  }

  private behind(part: BufferPart): BufferPart | undefined {
    return part.next ?? (part.writable ? undefined : this.firstWritable)
  }
}

/** Whether a last buffer is what a device says by that a request failed. */
function isStatus({ writable, length }: BufferPart): boolean {
  return writable && length <= COPY_LIMIT
}

function wrongCount(most: number, written: number): InvalidArgumentError {
  return new InvalidArgumentError(
    'written',
    `an integer from 0 to ${most}, which is what a device's handle() may answer`,
    written,
  )
}
