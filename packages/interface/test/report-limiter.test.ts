import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { InvalidArgumentError, kindOfError, ReportLimiter } from '../src/index.ts'

type Told = [report: string, repeated: number]

let told: Told[] = []
const tell = (report: string, repeated: number): void => {
  told.push([report, repeated])
}

beforeEach(() => {
  told = []
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

describe('reports of one kind', () => {
  test('the first five are told at once, the rest is counted once an interval', () => {
    const limiter = new ReportLimiter(tell)
    for (let number = 1; number <= 1000; number++) limiter.report('disk', `report ${number}`)
    expect(told).toEqual([
      ['report 1', 0],
      ['report 2', 0],
      ['report 3', 0],
      ['report 4', 0],
      ['report 5', 0],
    ])
    vi.advanceTimersByTime(9_999)
    expect(told.length).toBe(5)
    vi.advanceTimersByTime(1)
    expect(told[5]).toEqual(['report 1000', 995])
    limiter.report('disk', 'one more')
    expect(told.length).toBe(6)
    vi.advanceTimersByTime(10_000)
    expect(told[6]).toEqual(['one more', 1])
    expect(limiter.statistics).toEqual({ reports: 1001, told: 5 })
  })

  test('a flood of a minute is told in eleven calls', () => {
    const limiter = new ReportLimiter(tell)
    for (let second = 0; second < 60; second++) {
      for (let number = 0; number < 100; number++) limiter.report('disk', 'again')
      vi.advanceTimersByTime(1000)
    }
    limiter.flush()
    expect(told.length).toBe(5 + 6)
    expect(told.reduce((sum, [, repeated]) => sum + Math.max(1, repeated), 0)).toBe(6000)
  })

  test('starts anew after an interval without any', () => {
    const limiter = new ReportLimiter(tell, { burst: 1, interval: 100 })
    limiter.report('disk', 'first')
    limiter.report('disk', 'counted')
    vi.advanceTimersByTime(100)
    vi.advanceTimersByTime(100)
    limiter.report('disk', 'later')
    expect(told).toEqual([
      ['first', 0],
      ['counted', 1],
      ['later', 0],
    ])
  })

  test('what is counted is told by a flush, once', () => {
    const limiter = new ReportLimiter(tell, { burst: 1 })
    limiter.report('disk', 'first')
    limiter.report('disk', 'second')
    limiter.flush()
    limiter.flush()
    expect(told).toEqual([
      ['first', 0],
      ['second', 1],
    ])
  })
})

describe('several kinds', () => {
  test('each has a burst and a count of its own', () => {
    const limiter = new ReportLimiter(tell, { burst: 1 })
    for (const kind of ['a', 'b', 'a', 'b', 'b']) limiter.report(kind, kind)
    limiter.flush()
    expect(told).toEqual([
      ['a', 0],
      ['b', 0],
      ['a', 1],
      ['b', 2],
    ])
  })

  test('no more than 64 are told apart, so that a guest cannot make kinds without end', () => {
    const limiter = new ReportLimiter(tell, { burst: 1 })
    for (let number = 0; number < 10_000; number++) limiter.report(`kind ${number}`, `${number}`)
    expect(told.length).toBe(65)
    limiter.flush()
    expect(told.slice(65)).toEqual([['9999', 9935]])
  })
})

test('no timer is left when nothing comes any more', () => {
  const limiter = new ReportLimiter(tell)
  limiter.report('disk', 'once')
  expect(vi.getTimerCount()).toBe(1)
  vi.advanceTimersByTime(20_000)
  expect(vi.getTimerCount()).toBe(0)
})

test('deferred reports are told after what the reporter is doing, in order', async () => {
  const limiter = new ReportLimiter(tell, { burst: 1, deferred: true })
  limiter.report('disk', 'first')
  limiter.report('disk', 'second')
  limiter.flush()
  expect(told).toEqual([])
  await Promise.resolve()
  expect(told).toEqual([
    ['first', 0],
    ['second', 1],
  ])
})

test('a listener that throws is warned of once, and does not reach who reports', () => {
  const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const limiter = new ReportLimiter<string>(
    () => {
      throw new Error('the listener is broken')
    },
    { burst: 2 },
  )
  limiter.report('disk', 'first')
  limiter.report('disk', 'second')
  expect(emit).toHaveBeenCalledTimes(1)
  expect(emit).toHaveBeenCalledWith('a listener of reports threw: the listener is broken', {
    type: 'XmcWarning',
    code: 'WARN_XMC_LISTENER',
  })
  emit.mockRestore()
})

test.each([
  ['burst', 0],
  ['burst', 1.5],
  ['interval', 0],
  ['interval', 2 ** 31],
  ['kinds', Number.NaN],
])('%s of %d is refused', (field, value) => {
  expect(() => new ReportLimiter(tell, { [field]: value })).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
  )
})

test('errors are of a kind by code and reason, or by name', () => {
  const refused = new InvalidArgumentError('field', 'less', 1)
  expect(kindOfError(refused)).toBe('ERR_XMC_ARGUMENT')
  expect(kindOfError(Object.assign(refused, { reason: 'range' }))).toBe('ERR_XMC_ARGUMENT range')
  expect(kindOfError(new RangeError('a request of type 7'))).toBe('RangeError')
  expect(kindOfError('text')).toBe('string')
})
