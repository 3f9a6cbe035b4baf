import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { windowPage } from '@xmc/interface'
import { frame, MuseumWorld } from '../museum-world.ts'

/** What the reading thread is given. */
interface Shared {
  readonly window: Int32Array
  /** Rounds that the reader has made, and whether it is to stop. */
  readonly control: Int32Array
}

const OLD = 0
const NEW = 0x1000
const PAGES = 256
const REPLACEMENTS = 3000
const ROUNDS = 300

if (isMainThread) await replaceWhileRead()
else if (isShared(workerData)) read(workerData)

/** Replaces, unmaps and maps again what another thread reads, and prints what that has seen. */
async function replaceWhileRead(): Promise<void> {
  using world = new MuseumWorld()
  for (const first of [OLD, NEW]) {
    world.guest.populate(first, PAGES)
    for (let page = first; page < first + PAGES; page++) world.guestWrite(page, page)
  }
  const { log } = world.hypervisor.accounting
  // One place, so that the reader looks at nothing else.
  const cache = world.foreignCache({
    pageCount: PAGES,
    bucketShift: 20,
    retention: { kind: 'at-once' },
    shared: true,
  })
  const { buffer, byteOffset } = cache.backend.window
  const shared: Shared = {
    window: new Int32Array(buffer, byteOffset, PAGES * 1024),
    control: new Int32Array(new SharedArrayBuffer(8)),
  }
  const worker = new Worker(new URL(import.meta.url), { workerData: shared })
  await once(worker, 'message')

  let [from, to] = [frame(OLD), frame(NEW)]
  cache.lock(from, 0, 4, 0)
  let replacements = 0
  for (; replacements < REPLACEMENTS || Atomics.load(shared.control, 0) < ROUNDS; replacements++) {
    cache.replace(from, to, 1)
    ;[from, to] = [to, from]
    log.length = 0
  }
  cache.unlock(windowPage(0), 0)
  for (let cycle = 0; cycle < REPLACEMENTS; cycle++) {
    cache.unlock(cache.lock(from, 0, 4, 0), 0)
    log.length = 0
  }

  Atomics.store(shared.control, 1, 1)
  const [seen]: unknown[] = await once(worker, 'message')
  process.stdout.write(JSON.stringify(seen))
}

/** Reads a word of each page, over and over, and reports how often it was which. */
function read({ window, control }: Shared): void {
  const seen = { zero: 0, old: 0, new: 0, other: 0 }
  parentPort?.postMessage('reading')
  while (Atomics.load(control, 1) === 0) {
    for (let page = 0; page < PAGES; page++) {
      const word = window[page * 1024]
      if (word === NEW + page) seen.new++
      // Frame 0 holds a zero of its own.
      else if (word === 0) seen.zero++
      else if (word === OLD + page) seen.old++
      else seen.other++
    }
    Atomics.add(control, 0, 1)
  }
  parentPort?.postMessage(seen)
}

function isShared(value: unknown): value is Shared {
  return typeof value === 'object' && value !== null && 'window' in value && 'control' in value
}
