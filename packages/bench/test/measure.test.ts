import { describe, expect, it } from 'vitest'
import { Trial } from '../src/measure.ts'
import type { Workload } from '../src/workload.ts'

const EFFORT = { rounds: 3, batchNs: 1000, warmUpNs: 10_000 }

/** A workload that writes down what it was asked to do. */
function recorder(
  batch: number,
): Workload & { readonly calls: [string, number][]; closed: number } {
  const calls: [string, number][] = []
  const workload = {
    id: 'T',
    title: 'work',
    limitTitle: 'nothing',
    calls,
    closed: 0,
    prepare: () => ({
      batch,
      run: (count: number) => {
        calls.push(['run', count])
        return count
      },
      limit: async (count: number) => {
        calls.push(['limit', count])
        return count
      },
      close: async () => {
        workload.closed++
      },
    }),
  }
  return workload
}

describe('Trial', () => {
  it('runs the work and its limit in turn, each first every other time', async () => {
    const workload = recorder(1)
    const trial = await Trial.start(workload, EFFORT)
    workload.calls.length = 0
    await trial.round()
    await trial.round()
    expect(workload.calls.map(([what]) => what)).toEqual(['run', 'limit', 'limit', 'run'])
  })

  it('asks for whole batches only', async () => {
    const workload = recorder(32)
    const trial = await Trial.start(workload, EFFORT)
    await trial.round()
    expect(workload.calls.filter(([, count]) => count % 32 !== 0 || count === 0)).toEqual([])
  })

  it('gives medians of the rounds, says what they are of, and closes', async () => {
    const workload = recorder(1)
    const trial = await Trial.start(workload, EFFORT)
    for (let round = 0; round < 3; round++) await trial.round()
    const { rounds, note, ns, limitNs, quartiles, ratio } = trial.figure()
    expect({ rounds, note }).toEqual({ rounds: 3, note: 'work; limit: nothing' })
    expect([ns, limitNs].every((value) => value > 0)).toBe(true)
    expect(quartiles[0]).toBeLessThanOrEqual(ratio)
    expect(quartiles[1]).toBeGreaterThanOrEqual(ratio)
    await trial.close()
    expect(workload.closed).toBe(1)
  })
})
