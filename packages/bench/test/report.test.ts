import { describe, expect, it } from 'vitest'
import { plots } from '../src/plot.ts'
import { report } from '../src/report.ts'

const figure = {
  ns: 2.5,
  limitNs: 1,
  ratio: 2.5,
  quartiles: [2.4, 2.6],
  rounds: 31,
  note: '',
} as const

describe('report', () => {
  it('shows a figure with its limit and their ratio', () => {
    const text = report({ node: 'v20.0.0', cpu: 'a processor', workloads: { W1: figure } })
    expect(text.split('\n')).toEqual([
      'Node v20.0.0, a processor.',
      '',
      '### Each workload by itself',
      '',
      '|  | operation | ns | limit | ratio | quartiles |',
      '| --- | --- | --- | --- | --- | --- |',
      '| W1 | 4-byte load, 64 bytes on in one bucket | 2.5 | 1.0 | 2.50 | 2.40 – 2.60 |',
      '',
    ])
  })

  it('says rates of what moves bytes', () => {
    const disk = { ...figure, ns: 10_000, limitNs: 8000 }
    const text = report({ node: '', cpu: '', workloads: { BLK4K: disk, BLK1M: disk } })
    expect(text).toContain('100,000 requests/s, alone 125,000 requests/s')
    expect(text).toContain('104,858 MB/s, alone 131,072 MB/s')
  })
})

describe('plots', () => {
  it('draws a curve and its limit', () => {
    const points = [64, 1024].map((at) => ({ at, ...figure }))
    const pictures = plots({ W4: points, W5: points, W7: points })
    expect([...pictures.keys()]).toEqual(['growth-of-locks', 'growth-of-misses'])
    const svg = pictures.get('growth-of-locks') ?? ''
    expect(svg.startsWith('<svg')).toBe(true)
    for (const name of ['W4', 'W4: limit', 'W5', 'W5: limit']) expect(svg).toContain(`>${name}<`)
  })
})
