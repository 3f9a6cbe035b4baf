import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { namedCases, OTHER, SELF, TraceGuest } from './trace-guest.ts'

interface Recording {
  readonly file: string
  readonly maptrackFrames: number
  readonly translated: boolean
  readonly namedCount: number
  readonly stepCount: number
  /** Named cases that are not replayed, with the reason. */
  readonly exceptions: Readonly<Record<string, string>>
}

const selfGrantInTranslatedDomain =
  'A translated domain grants to itself: Xen refused the address with −1 before it looked at map-track, an artefact of where the recorded guest put it.'

const recordings: readonly Recording[] = [
  {
    file: 'xen-pv64-maptrack1.txt',
    maptrackFrames: 1,
    translated: false,
    namedCount: 56,
    stepCount: 20_016,
    exceptions: {},
  },
  {
    file: 'xen-pv64-maptrack2-named.txt',
    maptrackFrames: 2,
    translated: false,
    namedCount: 56,
    stepCount: 0,
    exceptions: {},
  },
  {
    file: 'xen-pvh-named.txt',
    maptrackFrames: 1,
    translated: true,
    namedCount: 55,
    stepCount: 0,
    exceptions: {
      maptrack_fill: selfGrantInTranslatedDomain,
      maptrack_drain: 'Undoes maptrack_fill, which is not replayed.',
      map_after_drain: selfGrantInTranslatedDomain,
    },
  },
]

describe.each(recordings)('live Xen, $file', (recording) => {
  const lines = readLines(recording.file)
  const guest = new TraceGuest(recording)
  const cases = namedCases(guest)
  const skipped: string[] = []
  const mismatches: string[] = []
  let named = 0
  let steps = 0
  for (const line of lines) {
    const [kind, name = ''] = line.split(' ')
    if (kind === 'ORA' && name in recording.exceptions) {
      skipped.push(name)
      continue
    }
    const actual = kind === 'TR' ? replayStep(guest, line) : replayCase(cases, name)
    if (kind === 'TR') steps++
    else named++
    if (actual !== line) mismatches.push(`${line} but the simulator: ${actual}`)
  }

  test('every line that is replayed is answered alike', () => {
    expect(mismatches).toEqual([])
  })

  test('nothing is skipped but the exceptions', () => {
    expect(skipped).toEqual(Object.keys(recording.exceptions))
    expect(steps).toBe(recording.stepCount)
    expect(named + skipped.length).toBe(recording.namedCount)
    expect(named + skipped.length + steps).toBe(lines.length)
  })
})

function replayCase(cases: Record<string, () => string>, name: string): string {
  return `ORA ${name} ${cases[name]?.() ?? 'is not known'}`
}

function replayStep(guest: TraceGuest, line: string): string {
  const [question = ''] = line.split(' = ')
  const [, step, ...words] = question.split(' ')
  const [a = 0, b = 0, c = 0] = words.map((word) => Number.parseInt(word, 10))
  switch (step) {
    case 'S': {
      const [, flags = '', other = '', frame = ''] = words
      guest.grant(a, Number.parseInt(flags, 16), Number(frame), other === '1' ? OTHER : SELF)
      return question
    }
    case 'M': {
      const status = guest.map(a, b, Number.parseInt(words[2] ?? '', 16))
      if (status !== 0) guest.slots.delete(a)
      return `${question} = ${status} ${guest.flags(b)}`
    }
    case 'U': {
      const status = guest.unmap(a)
      guest.slots.delete(a)
      return `${question} = ${status}`
    }
    case 'C': {
      const status =
        words[0] === 'from'
          ? guest.copyFrom(b, c, Number(words[3]))
          : guest.copyTo(b, c, Number(words[3]))
      return `${question} = ${status} ${guest.flags(b)}`
    }
    case 'Q':
      return `TR Q ${a} ${guest.flags(a)}`
    case 'N':
      return guest.slots.has(a) ? `slot ${a} is not empty` : question
    case 'F':
      for (const slot of guest.slots.keys()) if (slot < 64) guest.unmap(slot)
      guest.slots.clear()
      return `TR F ${a} ${guest.flags(a)}`
    default:
      return `unknown step`
  }
}

function readLines(file: string): string[] {
  const url = new URL(`data/xen-grant-traces/${file}`, import.meta.url)
  return readFileSync(url, 'utf8').trimEnd().split('\n')
}
