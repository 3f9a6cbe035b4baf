import { readdirSync, readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { HostMemoryWindow } from '@xmc/hostmem'

/** What the process holds, after a collection. */
export interface ProcessState {
  /** Memory areas inside the windows, by `/proc/self/maps`. */
  readonly windowAreas: number
  /** Memory areas that map a simulated guest's memory, wherever they are. */
  readonly guestAreas: number
  readonly fileDescriptors: number
  readonly heapBytes: number
}

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

/** Collects garbage, finalisers included, and counts what is left. */
export async function processState(windows: readonly HostMemoryWindow[]): Promise<ProcessState> {
  for (let round = 0; round < 4; round++) {
    if (typeof collect === 'function') collect()
    // oxlint-disable-next-line no-await-in-loop -- finalisers run between collections
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
  const lines = readFileSync('/proc/self/maps', 'utf8').trimEnd().split('\n')
  return {
    windowAreas: lines.filter((line) => windows.some((window) => lies(line, window))).length,
    guestAreas: lines.filter((line) => line.includes('memfd:')).length,
    fileDescriptors: readdirSync('/proc/self/fd').length,
    heapBytes: process.memoryUsage().heapUsed,
  }
}

/** Whether an area of `/proc/self/maps` touches a window; the engine's own areas come and go. */
function lies(line: string, window: HostMemoryWindow): boolean {
  const [range = ''] = line.split(' ', 1)
  const [start = 0, end = 0] = range.split('-').map((address) => Number.parseInt(address, 16))
  return start < window.hostAddress + window.pageCount * 4096 && end > window.hostAddress
}
