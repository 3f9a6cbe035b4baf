import { describe, expect, it } from 'vitest'
import { formatEvent } from '../src/console/protocol.ts'
import { RunRecord } from '../src/host/run-record.ts'

const started = formatEvent({ event: 'started' })
const exit = formatEvent({ event: 'exit', code: 0 })
const result = {
  suite: 's',
  id: '1',
  title: 't',
  outcome: 'passed',
  milliseconds: 1,
} as const
const oneCase = formatEvent({ event: 'case', result })

function recordOf(...lines: readonly string[]): RunRecord {
  const record = new RunRecord()
  for (const line of lines) record.read(line)
  return record
}

describe('RunRecord', () => {
  it('tells the boot from what dom0 prints', () => {
    const record = new RunRecord()
    expect(record.read('(XEN) booting')).toEqual({
      text: '(XEN) booting',
      stage: 'booting',
      result: undefined,
      isProgress: true,
    })
    record.read(started)
    expect(record.read('hello').stage).toBe('running')
    record.read(exit)
    expect(record.read('reboot: Power down').stage).toBe('ended')
  })

  it('keeps cases and the exit code', () => {
    const record = new RunRecord()
    expect(record.read(oneCase).result).toEqual(result)
    record.read(formatEvent({ event: 'exit', code: 7 }))
    expect(record.cases).toEqual([result])
    expect(record.exitCode).toBe(7)
  })

  it('takes lines of a boot, of the program and events for progress, and complaints of a running kernel not', () => {
    const record = new RunRecord()
    const stall = '[  212.345678] rcu: INFO: rcu_sched self-detected stall on CPU'
    const progress = (line: string): boolean => record.read(line).isProgress
    expect(progress('[    0.000000] Booting Linux')).toBe(true)
    expect(progress(started)).toBe(true)
    expect(
      [stall, '(XEN) d1v0 Unhandled SMC/HVC: 0x84000050', '(d1) hello', '[1.5] x'].map(progress),
    ).toEqual([false, false, false, false])
    expect(['D8: 100 requests', '', `${stall}${oneCase}`].map(progress)).toEqual([true, true, true])
  })

  it('knows the case that is under way', () => {
    const record = recordOf(started, formatEvent({ event: 'begin', suite: 's', id: '1' }))
    expect(record.current).toBe('s/1')
    record.read(oneCase)
    expect(record.current).toBeUndefined()
  })

  it('finds nothing wrong with a complete run', () => {
    const record = recordOf(started, oneCase, formatEvent({ event: 'complete', cases: 1 }), exit)
    expect(record.problems('powered-off', 60, true)).toEqual([])
  })

  it('expects no cases of a program of the caller', () => {
    expect(recordOf(started, exit).problems('powered-off', 60, false)).toEqual([])
  })

  it('says when the machine did not reach dom0', () => {
    expect(recordOf('(XEN) Panic').problems('powered-off', 60, true)).toEqual([
      'the machine did not get as far as dom0',
    ])
  })

  it('says when the program did not end within the limit', () => {
    expect(recordOf(started, oneCase).problems('limit', 60, true)).toEqual([
      'the emulator was killed after its limit of 60 seconds',
      "dom0's program did not end",
    ])
  })

  it('counts results that were lost or torn on the console', () => {
    const record = recordOf(
      started,
      oneCase,
      '@xmc-rig {"event":"case","resu(XEN) hello',
      formatEvent({ event: 'complete', cases: 2 }),
      exit,
    )
    expect(record.problems('powered-off', 60, true)).toEqual([
      'lines of results that something else on the console has torn: 1',
      '1 of 2 results reached the host',
    ])
  })

  it('does not take a program that ended early, or ran nothing, for a success', () => {
    expect(recordOf(started, oneCase, exit).problems('powered-off', 60, true)).toEqual([
      "dom0's program ended before it had reported all of its cases",
    ])
    const nothing = recordOf(started, formatEvent({ event: 'complete', cases: 0 }), exit)
    expect(nothing.problems('powered-off', 60, true)).toEqual(['no case was run'])
  })
})
