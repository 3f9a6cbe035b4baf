import { setImmediate as laterTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

/** Bytes of all array buffers of this thread, after what earlier tests left has been collected. */
export async function arrayBufferBytes(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    if (typeof collect === 'function') collect()
    // The memory of collected buffers is given back between two turns.
    await laterTurn()
  }
  return process.memoryUsage().arrayBuffers
}
