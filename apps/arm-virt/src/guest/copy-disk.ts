import { InvalidArgumentError } from '@xmc/interface'
import type { BlockDriver, GuestBuffer } from '@xmc/virtio/driver'
import {
  blockLength,
  blockSector,
  blockSegment,
  planTransfer,
  type TransferOptions,
  type TransferPlan,
  withBuffers,
} from './transfer.ts'

/**
 * The guest copies all of one disk onto another, with many reads and writes under way at a time and in any
 * order, and flushes. Returns the bytes that were copied.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` when the target is smaller
 * @throws what a driver says of a request that failed; the others were waited for
 * @throws the reason of the signal
 */
export async function copyDisk(
  source: BlockDriver,
  target: BlockDriver,
  options: TransferOptions = {},
): Promise<number> {
  const { capacity } = source.configuration
  if (target.configuration.capacity < capacity) {
    const expected = `a disk of at least ${capacity} sectors, as the source has`
    throw new InvalidArgumentError('target', expected, target.configuration.capacity)
  }
  const plan = planTransfer(capacity * 512, options)
  await withBuffers(source, plan, async (buffers) => {
    const work = new CopyWork(source, target, plan, options)
    await Promise.all(buffers.map((buffer) => work.run(buffer)))
    work.requireDone()
  })
  await target.flush()
  return plan.bytes
}

/** The blocks of a copy, taken one by one by those who have a buffer. */
class CopyWork {
  readonly #source: BlockDriver
  readonly #target: BlockDriver
  readonly #plan: TransferPlan
  readonly #options: TransferOptions
  #next = 0
  #done = 0
  #failure: { readonly error: unknown } | undefined

  constructor(
    source: BlockDriver,
    target: BlockDriver,
    plan: TransferPlan,
    options: TransferOptions,
  ) {
    this.#source = source
    this.#target = target
    this.#plan = plan
    this.#options = options
  }

  /** Copies blocks through `buffer` until there are none, or one has failed. Never rejects. */
  async run(buffer: GuestBuffer): Promise<void> {
    const plan = this.#plan
    try {
      while (this.#next < plan.blocks && this.#failure === undefined) {
        this.#options.signal?.throwIfAborted()
        const block = this.#next++
        const sector = blockSector(plan, block)
        const segment = blockSegment(plan, block, buffer)
        await this.#source.read(sector, segment)
        await this.#target.write(sector, segment)
        this.#done += blockLength(plan, block)
        this.#options.onProgress?.(this.#done, plan.bytes)
      }
    } catch (error) {
      this.#failure ??= { error }
    }
  }

  requireDone(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }
}
