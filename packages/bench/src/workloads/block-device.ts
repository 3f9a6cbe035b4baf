import { closeSync, openSync, read, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Addressing, DiskMachine } from '@xmc/arm-virt'
import { FileDisk } from '@xmc/virtio'
import type { Prepared, Workload } from '../workload.ts'

const FILE_BYTES = 2 ** 28

/** Reads of a disk by a guest of the simulator, through virtio-blk, with the file in the page cache. */
export const blockDevice: readonly Workload[] = [
  disk('BLK4K', 4096, 32, 'foreign'),
  disk('BLK4K_1', 4096, 1, 'foreign'),
  disk('BLK4K_grants', 4096, 32, 'grants'),
  disk('BLK4K_1_grants', 4096, 1, 'grants'),
  disk('BLK1M', 2 ** 20, 32, 'foreign'),
  disk('BLK1M_1', 2 ** 20, 1, 'foreign'),
  disk('BLK1M_grants', 2 ** 20, 32, 'grants'),
  disk('BLK1M_1_grants', 2 ** 20, 1, 'grants'),
]

function disk(id: string, bytes: number, depth: number, addressing: Addressing): Workload {
  const what = bytes === 4096 ? '4 KiB, random' : '1 MiB, in order'
  const how = addressing === 'grants' ? 'grants' : 'plain guest addresses'
  return {
    id,
    title: `simulated guest reads a disk, ${what}, ${depth} under way, by ${how}`,
    limitTitle: "the file's blocks by callback fs.read at the same depth, into plain buffers",
    bytes,
    prepare: () => prepareReads(bytes, depth, addressing),
  }
}

async function prepareReads(
  bytes: number,
  depth: number,
  addressing: Addressing,
): Promise<Prepared> {
  const path = join(tmpdir(), `xmc-bench-${process.pid}-${bytes}-${depth}-${addressing}.img`)
  const descriptor = openSync(path, 'wx+')
  let served: FileDisk
  try {
    for (let at = 0; at < FILE_BYTES; at += 2 ** 20) {
      writeSync(descriptor, new Uint8Array(2 ** 20).fill(at >>> 20), 0, 2 ** 20, at)
    }
    served = await FileDisk.open(path, { readOnly: true })
  } catch (error) {
    closeSync(descriptor)
    throw error
  } finally {
    // Both descriptors stay good; nothing is left behind however the process ends.
    unlinkSync(path)
  }
  const machine = DiskMachine.open({ disks: [served], addressing })
  const driver = machine.driver(0)
  await driver.start()
  const blocks = blockOrder(bytes)
  const guestBuffers = Array.from({ length: depth }, () => driver.allocateBuffer(bytes))
  const plainBuffers = Array.from({ length: depth }, () => new Uint8Array(bytes))
  return {
    batch: depth,
    async close() {
      await driver.close()
      await machine.close()
      await served.close()
      closeSync(descriptor)
    },
    run: (count) =>
      keepBusy(count, depth, (nth, slot, done) => {
        const buffer = guestBuffers[slot]!
        const sector = (blocks[nth % blocks.length]! * bytes) / 512
        void settle(driver.read(sector, buffer), () => buffer.bytes[0], done)
      }),
    limit: (count) =>
      keepBusy(count, depth, (nth, slot, done) => {
        const buffer = plainBuffers[slot]!
        const position = blocks[nth % blocks.length]! * bytes
        read(descriptor, buffer, 0, bytes, position, (error) => done(error, buffer[0]))
      }),
  }
}

/** Starts request `nth` in a slot. */
type Start = (nth: number, slot: number, done: (error: unknown, first?: number) => void) => void

/** Tells of the end of a request as a callback of `fs` would. */
async function settle(
  request: Promise<void>,
  first: () => number | undefined,
  done: Parameters<Start>[2],
): Promise<void> {
  try {
    await request
  } catch (error) {
    done(error)
    return
  }
  done(undefined, first())
}

/** Makes `count` requests with `depth` under way, and adds up the first byte of each. */
function keepBusy(count: number, depth: number, start: Start): Promise<number> {
  return new Promise((resolve, reject) => {
    let started = 0
    let finished = 0
    let sum = 0
    const next = (slot: number): void => {
      start(started++, slot, (error, first = 0) => {
        if (error !== undefined && error !== null) {
          reject(error)
          return
        }
        sum += first
        finished++
        if (started < count) next(slot)
        else if (finished === count) resolve(sum)
      })
    }
    for (let slot = 0; slot < Math.min(depth, count); slot++) next(slot)
  })
}

/** All blocks of the file: by chance where they are small, else in order. */
function blockOrder(bytes: number): Int32Array {
  const order = new Int32Array(FILE_BYTES / bytes).map((_, block) => block)
  if (bytes > 4096) return order
  let seed = 1
  for (let i = order.length - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0
    const other = (seed >>> 1) % (i + 1)
    const block = order[i]!
    order[i] = order[other]!
    order[other] = block
  }
  return order
}
