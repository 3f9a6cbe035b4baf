import { createHash } from 'node:crypto'
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

/** How a guest reads a disk. */
export interface ReadOptions extends TransferOptions {
  /** Bytes to read from the start; all of the disk by default. */
  readonly bytes?: number | undefined
  /** Looks at each block, in order, before its buffer is used again. */
  readonly onBlock?: ((position: number, bytes: Uint8Array) => Promise<void>) | undefined
}

/** What a guest read. */
export interface ReadResult {
  readonly bytes: number
  /** SHA-256 of the bytes, in hexadecimal. */
  readonly sha256: string
}

/**
 * The guest reads a disk from start to end, with many requests under way, and computes its SHA-256.
 *
 * @throws what the driver says of a request that failed; the others were waited for
 * @throws the reason of the signal
 */
export async function readDisk(
  driver: BlockDriver,
  options: ReadOptions = {},
): Promise<ReadResult> {
  const bytes = options.bytes ?? driver.configuration.capacity * 512
  const plan = planTransfer(bytes, options)
  const hash = createHash('sha256')
  await withBuffers(driver, plan, async (buffers) => {
    await inOrder(driver, plan, buffers, options, async (position, content) => {
      hash.update(content)
      await options.onBlock?.(position, content)
    })
  })
  return { bytes, sha256: hash.digest('hex') }
}

/** Reads blocks and calls `take` for each, in order, while the next ones are under way. */
async function inOrder(
  driver: BlockDriver,
  plan: TransferPlan,
  buffers: readonly GuestBuffer[],
  { signal, onProgress }: ReadOptions,
  take: (position: number, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  // A failure is kept as a value: the requests behind one that is waited for may fail first.
  const pending: Promise<unknown>[] = []
  const request = (block: number): void => {
    const buffer = buffers[block % buffers.length]
    if (buffer === undefined || block >= plan.blocks) return
    pending[block % buffers.length] = driver
      .read(blockSector(plan, block), blockSegment(plan, block, buffer))
      .then(
        () => undefined,
        (error: unknown) => error ?? new Error('the driver failed and did not say why'),
      )
  }
  try {
    for (let block = 0; block < buffers.length; block++) request(block)
    for (let block = 0; block < plan.blocks; block++) {
      const slot = block % buffers.length
      const failure = await pending[slot]
      if (failure !== undefined) throw failure
      signal?.throwIfAborted()
      const length = blockLength(plan, block)
      const position = block * plan.blockBytes
      await take(position, buffers[slot]?.bytes.subarray(0, length) ?? new Uint8Array())
      request(block + buffers.length)
      onProgress?.(position + length, plan.bytes)
    }
  } finally {
    await Promise.all(pending)
  }
}
