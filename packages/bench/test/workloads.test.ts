import { describe, expect, it } from 'vitest'
import { goals } from '../src/goals.ts'
import { growthPoints, workloads } from '../src/workloads/all.ts'

/** What every run reports. */
const REQUIRED = (
  'W1 W2 W2b W3 W3h W4_64 W4_1024 W4_16384 W5_64 W5_1024 W5_16384 W6_1 W6_16 W6_256 W7 W8 INV0 INV1000 ' +
  'AS1 AS2 DMA1 DMA2 BLK4K BLK1M W3_handle W3h_handle W4_1024_handle W3_strict W4_1024_strict'
).split(' ')

describe('the workloads', () => {
  it('have names of their own, all that are required among them', () => {
    const ids = [...workloads, ...growthPoints].map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(REQUIRED.filter((id) => !ids.includes(id))).toEqual([])
  })

  it('have a figure for every goal', () => {
    const figure = {
      ns: 2,
      limitNs: 1,
      ratio: 2,
      quartiles: [2, 2],
      rounds: 1,
      note: '',
    } as const
    const figures = Object.fromEntries(workloads.map(({ id }) => [id, figure]))
    expect(goals.filter((goal) => Number.isNaN(goal.value(figures)))).toEqual([])
  })

  // The disks take seconds to make, and are made by the run itself.
  const quick = workloads.filter(({ id }) => !id.startsWith('BLK') && !/^(W2|INV1000)/.test(id))
  it.each(quick)('$id does its work, and its limit', async (workload) => {
    const prepared = await workload.prepare()
    const count = 8 * (prepared.batch ?? 1)
    expect(await prepared.run(count)).toBeTypeOf('number')
    expect(await prepared.limit(count)).toBeTypeOf('number')
    await prepared.close?.()
  })
})

describe('a hit and its limit', () => {
  it.each(['W1', 'W2b', 'W3', 'AS1'])('read the same bytes in %s', async (id) => {
    const workload = workloads.find((one) => one.id === id)
    const prepared = await workload?.prepare()
    const sum = await prepared?.run(1000)
    expect(sum).not.toBe(0)
    expect(await prepared?.limit(1000)).toBe(sum)
  })
})
