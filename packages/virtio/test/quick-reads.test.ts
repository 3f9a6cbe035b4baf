import { expect, test } from 'vitest'
import { QuickReads } from '../src/internal/quick-reads.ts'
import { turns } from './doubles/machine.ts'

/** Quick reads on a clock of the test's, in ms. */
function setUp(): {
  take: (ms: number) => boolean
  wait: (ms: number) => void
  quick: QuickReads
} {
  let now = 1000
  const quick = new QuickReads(() => now)
  return {
    quick,
    wait: (ms) => {
      now += ms
    },
    take: (ms) =>
      quick.attempt(() => {
        now += ms
        return 1
      }) === 1,
  }
}

test('reads that are quick are made, one after the other', () => {
  const { take } = setUp()
  expect(Array.from({ length: 100 }, () => take(0.06))).not.toContain(false)
})

test('a slow read is followed by a pause of four times its length', () => {
  const { take, wait } = setUp()
  expect(take(10)).toBe(true)
  wait(39.9)
  expect(take(0)).toBe(false)
  wait(0.2)
  expect(take(0)).toBe(true)
})

test('the pause doubles with each slow read, up to 1024 times its length', () => {
  const { take, wait } = setUp()
  for (let times = 4; times <= 4096; times *= 2) {
    const pause = Math.min(times, 1024)
    expect(take(1)).toBe(true)
    wait(pause - 0.1)
    expect(take(0)).toBe(false)
    wait(0.2)
  }
})

test('sixteen quick reads in a row make the next pause short again', () => {
  const { take, wait } = setUp()
  for (const reads of [15, 16]) {
    take(1)
    wait(1024)
    take(1)
    wait(1024)
    for (let read = 0; read < reads; read += 1) take(0)
    expect(take(1)).toBe(true)
    wait(4.1)
    expect(take(0)).toBe(reads === 16)
    wait(1024)
  }
})

test('256 reads in a turn of the event loop; the next turn is announced', async () => {
  const { take, quick } = setUp()
  expect(quick.nextTurn()).toBeUndefined()
  expect(Array.from({ length: 256 }, () => take(0))).not.toContain(false)
  expect(take(0)).toBe(false)
  await quick.nextTurn()
  expect(quick.nextTurn()).toBeUndefined()
  expect(take(0)).toBe(true)
  await turns(1)
})

test('an error of the read is the caller’s', () => {
  const { quick } = setUp()
  expect(() =>
    quick.attempt(() => {
      throw new Error('EIO')
    }),
  ).toThrow('EIO')
})
