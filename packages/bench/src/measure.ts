import { median, quantile } from './median.ts'
import type { Figure, Prepared, Workload } from './workload.ts'

/** How long to measure. */
export interface Effort {
  /** Pairs of batches that count, the workload and its limit in turn. */
  readonly rounds: number
  /** Nanoseconds that a batch takes, about. */
  readonly batchNs: number
  /** Nanoseconds for warming up. */
  readonly warmUpNs: number
}

/** What figures are made with, and a look that takes seconds. */
export const EFFORTS: { readonly full: Effort; readonly quick: Effort } = {
  full: { rounds: 31, batchNs: 10e6, warmUpNs: 400e6 },
  quick: { rounds: 5, batchNs: 2e6, warmUpNs: 20e6 },
}

/** What the work has given so far; printed at the end, so that it is not in vain. */
export let consumed = 0

/** One workload by itself. */
export async function measure(workload: Workload, effort: Effort): Promise<Figure> {
  const trial = await Trial.start(workload, effort)
  for (let round = 0; round < effort.rounds; round++) await trial.round()
  await trial.close()
  return trial.figure()
}

/** A workload that is warm, and measured round by round. */
export class Trial {
  readonly workload: Workload
  readonly #prepared: Prepared
  readonly #counts: readonly [number, number]
  readonly #times: number[] = []
  readonly #limits: number[] = []

  /** Prepares and warms up. */
  static async start(workload: Workload, effort: Effort): Promise<Trial> {
    const prepared = await workload.prepare()
    const batch = prepared.batch ?? 1
    const run = await warmUp(prepared.run, batch, effort)
    const limit = await warmUp(prepared.limit, batch, effort)
    return new Trial(workload, prepared, [run, limit])
  }

  private constructor(workload: Workload, prepared: Prepared, counts: readonly [number, number]) {
    this.workload = workload
    this.#prepared = prepared
    this.#counts = counts
  }

  /** One batch of the work and one of the limit, in changing order. */
  async round(): Promise<void> {
    const { run, limit } = this.#prepared
    const [count, limitCount] = this.#counts
    if (this.#times.length % 2 === 0) {
      this.#times.push(await time(run, count))
      this.#limits.push(await time(limit, limitCount))
    } else {
      this.#limits.push(await time(limit, limitCount))
      this.#times.push(await time(run, count))
    }
  }

  async close(): Promise<void> {
    await this.#prepared.close?.()
  }

  figure(): Figure {
    const ratios = this.#times.map((ns, round) => ns / (this.#limits[round] ?? Number.NaN))
    const { title, limitTitle } = this.workload
    return {
      ns: rounded(median(this.#times)),
      limitNs: rounded(median(this.#limits)),
      ratio: rounded(median(ratios)),
      quartiles: [rounded(quantile(ratios, 0.25)), rounded(quantile(ratios, 0.75))],
      rounds: ratios.length,
      note: `${title}; limit: ${limitTitle}`,
    }
  }
}

/** To 4 digits: more say nothing. */
function rounded(value: number): number {
  return Number(value.toPrecision(4))
}

/** Nanoseconds of one of `count` operations. */
async function time(work: Prepared['run'], count: number): Promise<number> {
  const started = process.hrtime.bigint()
  const result = work(count)
  // Awaiting a number would cost a turn of the microtask queue, within the time.
  consumed += typeof result === 'number' ? result : await result
  return Number(process.hrtime.bigint() - started) / count
}

/** Runs for a while, and gives the count that fills a batch. */
async function warmUp(
  work: Prepared['run'],
  batch: number,
  { batchNs, warmUpNs }: Effort,
): Promise<number> {
  const started = process.hrtime.bigint()
  let count = batch
  for (;;) {
    const ns = await time(work, count)
    const wanted = Math.ceil(batchNs / ns / batch) * batch
    if (Number(process.hrtime.bigint() - started) >= warmUpNs) return Math.max(batch, wanted)
    // No more than a batch at a time, so that what is optimized later is optimized within the warm-up.
    count = Math.min(Math.max(batch, wanted), count * 2)
  }
}
