import { once } from 'node:events'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { windowPage } from '@xmc/interface'
import { createMemoryFile, openWindow } from '../../src/index.ts'
import { countAreasOfFile } from '../helpers/process-memory.ts'

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url))
  await once(worker, 'message')
  const during = countAreasOfFile('worker')
  await worker.terminate()
  process.stdout.write(JSON.stringify({ during, after: countAreasOfFile('worker') }))
} else {
  const file = createMemoryFile({ name: 'worker', size: 4096 })
  const window = openWindow({ pageCount: 1 })
  window.map(windowPage(0), 1, file.fd, 0, true)
  // Keeps the thread, and with it the window, until it is terminated.
  setInterval(() => window.mappedPages, 1000)
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port has no origin
  parentPort?.postMessage('mapped')
}
