// What a cache takes of the heap and of the host, beside the guest's memory. Run with --expose-gc.
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { guestFrame } from '@xmc/foreign'
import { BUCKET_PAGES, Guest } from './guest.ts'

/** Bytes of V8's heap, and of anonymous host memory all told. */
interface Usage {
  readonly heapBytes: number
  readonly hostBytes: number
}

const guest = new Guest(2 ** 31)
// What is loaded and allocated once by the first cache belongs to the process.
const first = guest.foreign()
first.lock(guestFrame(0), 0, 4096, 0)

const before = usage()
const cache = guest.foreign()
const startUp = since(before)

const mapped = usage()
for (let bucket = 0; bucket < 1000; bucket++) {
  cache.unlock(cache.lock(guestFrame(bucket * BUCKET_PAGES), 0, 4096, 1), 0)
}
const per1000Buckets = since(mapped)

const locked = usage()
for (let page = 0; page < 1000; page++) cache.lock(guestFrame(page), 0, 4096, 1)
const per1000Locks = since(locked)

const held = usage()
const handles = Array.from({ length: 1000 }, (_, page) => cache.map(guestFrame(page), 0, 4096))
const per1000Handles = since(held)
if (handles.some((handle) => handle.released)) throw new Error('the handles are held')

process.stdout.write(
  `${JSON.stringify({ startUp, per1000Buckets, per1000Locks, per1000Handles })}\n`,
)

function usage(): Usage {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc')
  globalThis.gc()
  globalThis.gc()
  const [, kibibytes] =
    /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return { heapBytes: process.memoryUsage().heapUsed, hostBytes: Number(kibibytes) * 1024 }
}

function since({ heapBytes, hostBytes }: Usage): Usage {
  const now = usage()
  return { heapBytes: now.heapBytes - heapBytes, hostBytes: now.hostBytes - hostBytes }
}
