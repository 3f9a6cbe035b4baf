// What caches take of the heap and of the host, beside the guest's memory. Run with --expose-gc.

import { readFileSync } from 'node:fs'
import process from 'node:process'
import { setTimeout as pause } from 'node:timers/promises'
import type { Mapping } from '@xmc/core'
import { guestFrame } from '@xmc/interface'
import { BUCKET, BUCKET_PAGES, Guest } from './guest.ts'
import type { MemoryUse } from './results.ts'

/** So many of each that what the process does besides is small beside them. */
const CACHES = 50
const BUCKETS = 4000
const LOCKS = 100_000

const guest = new Guest(BUCKETS * BUCKET)
// What is loaded and allocated once by the first cache belongs to the process.
guest.foreign().loadUint32(guestFrame(0), 0)

const kept: unknown[] = []
const startUp = await taken(CACHES, 1, () => {
  for (let nth = 0; nth < CACHES; nth++) kept.push(guest.foreign({ windowBytes: 2 ** 28 }))
})

const cache = guest.foreign({ retention: { kind: 'keep', budgetBytes: BUCKETS * BUCKET } })
const per1000Buckets = await taken(BUCKETS, 1000, () => {
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    cache.loadUint32(guestFrame(bucket * BUCKET_PAGES), 0)
  }
})

const per1000Locks = await taken(LOCKS, 1000, () => {
  for (let page = 0; page < LOCKS; page++) cache.lock(guestFrame(page), 0, 4096, 1)
})

const handles: Mapping[] = []
const per1000Handles = await taken(LOCKS, 1000, () => {
  for (let page = 0; page < LOCKS; page++) handles.push(cache.map(guestFrame(page), 0, 4096))
})

const { mappedPages, locks } = cache.statistics
if (kept.length !== CACHES || mappedPages < BUCKETS * BUCKET_PAGES || locks < 2 * LOCKS) {
  throw new Error(`measured something else: ${mappedPages} pages mapped, ${locks} locks`)
}
process.stdout.write(
  `${JSON.stringify({ startUp, per1000Buckets, per1000Locks, per1000Handles })}\n`,
)

/** What `count` things take, as use by `each` of them. */
async function taken(count: number, each: number, make: () => void): Promise<MemoryUse> {
  const before = await usage()
  make()
  const after = await usage()
  const share = (bytes: number): number => Math.round((bytes * each) / count)
  return {
    heapBytes: share(after.heapBytes - before.heapBytes),
    hostBytes: share(after.hostBytes - before.hostBytes),
  }
}

async function usage(): Promise<MemoryUse> {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc')
  for (let round = 0; round < 3; round++) {
    globalThis.gc()
    await pause(50)
  }
  const [, kibibytes] =
    /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return { heapBytes: process.memoryUsage().heapUsed, hostBytes: Number(kibibytes) * 1024 }
}
