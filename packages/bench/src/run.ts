import { execFile } from 'node:child_process'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Figures } from './goals.ts'
import type { MemoryResults, Results } from './results.ts'
import type { Figure } from './workload.ts'
import { growthPoints, workloads } from './workloads/all.ts'

/** How a run differs from the full one. */
export interface RunOptions {
  /** A look that takes seconds, whose figures mean little. */
  readonly quick: boolean
  /** Only the workloads whose names start so, and nothing else. */
  readonly only?: readonly string[] | undefined
  /** Is told what is measured next, and how far the run is. */
  readonly onProgress: (what: string, done: number, total: number) => void
}

/** Measures everything, each workload in a process of its own. */
export async function runAll(options: RunOptions): Promise<Results> {
  const { quick, only, onProgress } = options
  const effort = quick ? 'quick' : 'full'
  const isWanted = ({ id }: { readonly id: string }): boolean =>
    only === undefined || only.some((start) => id === start || id.startsWith(`${start}_`))
  const wanted = workloads.filter(isWanted)
  const total = wanted.length + (only === undefined ? growthPoints.length + 2 : 0)
  let done = 0
  const step = async <Result>(what: string, work: () => Promise<Result>): Promise<Result> => {
    onProgress(what, done, total)
    const result = await work()
    done++
    return result
  }

  const figures: Record<string, Figure> = {}
  for (const { id } of wanted) figures[id] = await step(id, () => solo(id, effort))
  const results = { node: process.version, cpu: cpus()[0]?.model ?? 'unknown', workloads: figures }
  if (only !== undefined) return results

  const growth: Record<string, (Figure & { at: number })[]> = {}
  for (const { id, curve, at } of growthPoints) {
    const figure = await step(id, () => solo(id, effort))
    const points = (growth[curve] ??= [])
    points.push({ at, ...figure })
  }
  const memory = await step('memory', () => child<MemoryResults>(['--expose-gc'], 'memory', []))
  const mixed = await step('mixed', () => child<{ figures: Figures }>([], 'mixed', [effort]))
  return { ...results, mixed: mixed.figures, memory, growth }
}

async function solo(id: string, effort: string): Promise<Figure> {
  const { figure } = await child<{ figure: Figure }>([], 'solo', [id, effort])
  return figure
}

/** Runs a program of this folder, which prints one JSON object. */
async function child<Result>(
  flags: readonly string[],
  program: string,
  parameters: readonly string[],
): Promise<Result> {
  const path = fileURLToPath(new URL(`${program}.js`, import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, path, ...parameters])
  return JSON.parse(stdout)
}
