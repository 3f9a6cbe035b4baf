import { type Goal, goals, MIXED_MOST } from './goals.ts'
import type { MemoryResults, Results } from './results.ts'
import { type Figure, type Workload } from './workload.ts'
import { workloads } from './workloads/all.ts'

/** The results as tables, in Markdown. */
export function report(results: Results): string {
  const { node, cpu, mixed, memory } = results
  const parts = [`Node ${node}, ${cpu}.`, figureTable(results.workloads, 'Each workload by itself')]
  if (mixed !== undefined) parts.push(mixedTable(results.workloads, mixed))
  if (memory !== undefined) parts.push(memoryTable(memory))
  if (mixed !== undefined) parts.push(goalTable(results))
  return `${parts.join('\n\n')}\n`
}

function figureTable(figures: Results['workloads'], title: string): string {
  const rows = workloads.flatMap((workload) => {
    const figure = figures[workload.id]
    if (figure === undefined) return []
    const { ns, limitNs, ratio, quartiles } = figure
    const rate = workload.bytes === undefined ? '' : rates(workload, figure)
    const cells = [workload.id, `${workload.title}${rate}`, time(ns), time(limitNs)]
    return [[...cells, times(ratio), `${times(quartiles[0])} – ${times(quartiles[1])}`]]
  })
  const head = ['', 'operation', 'ns', 'limit', 'ratio', 'quartiles']
  return `### ${title}\n\n${table(head, rows)}`
}

/** What moves bytes is said in rates, too. */
function rates({ bytes = 0 }: Workload, { ns, limitNs }: Figure): string {
  const rate = (each: number): string =>
    bytes < 2 ** 20
      ? `${Math.round(1e9 / each).toLocaleString('en')} requests/s`
      : `${Math.round((bytes * 1e3) / each).toLocaleString('en')} MB/s`
  return ` — ${rate(ns)}, alone ${rate(limitNs)}`
}

function mixedTable(solo: Results['workloads'], mixed: Results['workloads']): string {
  const rows = workloads.flatMap(({ id }) => {
    const alone = solo[id]
    const among = mixed[id]
    if (alone === undefined || among === undefined) return []
    const factor = among.ns / alone.ns
    return [[id, time(alone.ns), time(among.ns), times(factor), factor <= MIXED_MOST ? '' : 'over']]
  })
  const head = ['', 'ns by itself', 'ns among all', 'factor', '']
  return `### All workloads in one process, in turn\n\n${table(head, rows)}`
}

function memoryTable(memory: MemoryResults): string {
  const rows = [
    ['one more cache', memory.startUp],
    ['1,000 cached buckets', memory.per1000Buckets],
    ['1,000 locked mappings, page surface', memory.per1000Locks],
    ['1,000 locked mappings, handles', memory.per1000Handles],
  ] as const
  const cells = rows.map(([what, { heapBytes, hostBytes }]) => [
    what,
    heapBytes.toLocaleString('en'),
    hostBytes.toLocaleString('en'),
  ])
  return `### Memory\n\n${table(['', 'bytes of heap', 'bytes of host memory'], cells)}`
}

function goalTable({ workloads: figures }: Results): string {
  const rows = goals.map((goal: Goal) => {
    const value = goal.value(figures)
    return [
      goal.text,
      Number(value.toPrecision(3)).toString(),
      value <= goal.most ? 'met' : 'missed',
    ]
  })
  return `### Goals\n\n${table(['goal', 'measured', ''], rows)}`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

function time(ns: number): string {
  return ns < 100 ? ns.toFixed(1) : Math.round(ns).toLocaleString('en')
}

function times(ratio: number): string {
  return ratio < 10 ? ratio.toFixed(2) : ratio.toFixed(0)
}
