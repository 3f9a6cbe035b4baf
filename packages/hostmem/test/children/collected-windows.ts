import { setImmediate } from 'node:timers/promises'
import { windowPage } from '@xmc/interface'
import { createMemoryFile, type HostMemoryWindow, openWindow } from '../../src/index.ts'
import { countAreasOfFile } from '../helpers/process-memory.ts'

const file = createMemoryFile({ name: 'collected', size: 65_536 })
const first = windowPage(0)
let mapped: HostMemoryWindow | undefined = openWindow({ pageCount: 16 })
mapped.map(first, 4, file.fd, 0, true)
let resetAgain: HostMemoryWindow | undefined = openWindow({ pageCount: 16 })
resetAgain.map(first, 4, file.fd, 0, true)
resetAgain.map(windowPage(8), 1, file.fd, 0, true)
resetAgain.reset(first, 4)
resetAgain.reset(windowPage(8), 1)
let closed: HostMemoryWindow | undefined = openWindow({ pageCount: 16 })
closed.map(first, 4, file.fd, 0, true)
closed.close()
let replaced: HostMemoryWindow | undefined = openWindow({ pageCount: 16 })
replaced.map(first, 4, file.fd, 0, true)
replaced.map(first, 2, file.fd, 0, true)
replaced.reset(first, 3)

const buffers = {
  mapped: new WeakRef(mapped.buffer),
  reset: new WeakRef(resetAgain.buffer),
  closed: new WeakRef(closed.buffer),
  partlyMapped: new WeakRef(replaced.buffer),
}
mapped = resetAgain = closed = replaced = undefined
for (let round = 0; round < 10; round++) {
  // A WeakRef keeps its target until the end of the task in which it was made or read.
  // oxlint-disable-next-line no-await-in-loop
  await setImmediate()
  globalThis.gc?.()
}
const alive = Object.fromEntries(
  Object.entries(buffers).map(([name, buffer]) => [name, buffer.deref() !== undefined]),
)
process.stdout.write(JSON.stringify({ alive, areas: countAreasOfFile('collected') }))
