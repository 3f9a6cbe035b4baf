import { describe, expect, it } from 'vitest'
import { formatEvent, parseLine } from '../src/console/protocol.ts'

const result = {
  suite: 'grants',
  id: 'G1',
  title: 'a page is mapped',
  outcome: 'passed',
  milliseconds: 1.5,
} as const

describe('formatEvent', () => {
  it('is one line with a mark', () => {
    expect(formatEvent({ event: 'exit', code: 3 })).toBe('@xmc-rig {"event":"exit","code":3}')
    expect(
      formatEvent({ event: 'case', result: { ...result, outcome: 'failed', detail: 'a\nb' } }),
    ).not.toContain('\n')
  })
})

describe('parseLine', () => {
  it('reads back what was formatted', () => {
    expect(parseLine(formatEvent({ event: 'case', result }))).toEqual({
      text: undefined,
      event: { event: 'case', result },
    })
  })

  it('reads that a case begins', () => {
    const event = { event: 'begin', suite: 'disks', id: 'D13' } as const
    expect(parseLine(formatEvent(event))).toEqual({ text: undefined, event })
    expect(parseLine('@xmc-rig {"event":"begin","suite":"disks"}').event).toBe('torn')
  })

  it('reads what the init script of dom0 prints', () => {
    expect(parseLine('@xmc-rig {"event":"started"}').event).toEqual({ event: 'started' })
    expect(parseLine('@xmc-rig {"event":"exit","code":137}').event).toEqual({
      event: 'exit',
      code: 137,
    })
  })

  it('takes a line without an event as text', () => {
    expect(parseLine('(XEN) Brought up 1 CPUs')).toEqual({
      text: '(XEN) Brought up 1 CPUs',
      event: undefined,
    })
  })

  it('keeps what a program printed before an event without ending its line', () => {
    expect(parseLine('50 %@xmc-rig {"event":"exit","code":0}')).toEqual({
      text: '50 %',
      event: { event: 'exit', code: 0 },
    })
  })

  it.each([
    ['cut off', '@xmc-rig {"event":"exi'],
    ['with something in between', '@xmc-rig {"event":"ex(XEN) DOM1: hello'],
    ['of no known kind', '@xmc-rig {"event":"surprise"}'],
    ['without its fields', '@xmc-rig {"event":"exit"}'],
    ['with a result that is none', '@xmc-rig {"event":"case","result":{"suite":"s","id":"1"}}'],
    [
      'with an outcome that is none',
      `@xmc-rig {"event":"case","result":${JSON.stringify({ ...result, outcome: 'fine' })}}`,
    ],
  ])('says that an event %s is torn', (_, line) => {
    expect(parseLine(line).event).toBe('torn')
  })
})
