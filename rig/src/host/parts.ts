import { availableParallelism, freemem } from 'node:os'
import type { Progress } from './progress.ts'
import { type RunOptions, type RunOutcome, runInDom0 } from './run.ts'

/** Memory that an emulator takes, with all of its guests. */
const machineBytes = 4 * 2 ** 30

/** Machines that this one can emulate at a time without slowing them down: each takes a processor. At most 2. */
export function possibleMachines(): number {
  const fitting = Math.min(availableParallelism(), Math.floor(freemem() / machineBytes))
  return Math.max(1, Math.min(2, fitting))
}

/**
 * Runs the suites in several machines at a time, a part of them in each, as one run.
 *
 * @throws as {@link runInDom0}; the other machines are ended then
 */
export async function runInParts(
  options: RunOptions,
  machines: number,
  progress: Progress,
): Promise<RunOutcome> {
  if (machines === 1) return runInDom0(options, progress)
  const failed = new AbortController()
  const signal = AbortSignal.any([options.signal, failed.signal])
  const start = (part: number, onPrepared?: () => void): Promise<RunOutcome> =>
    runInDom0(
      {
        ...options,
        signal,
        parameters: [...options.parameters, `--part=${part}/${machines}`],
        consoleName: `console-${part}.log`,
        ...(onPrepared !== undefined && { onPrepared }),
      },
      progress,
    ).catch((error: unknown) => {
      failed.abort(error)
      throw error
    })
  // What is downloaded and built is so once, by the first.
  const runs: Promise<RunOutcome>[] = []
  await new Promise<void>((resolve) => {
    runs.push(start(1, resolve))
    void Promise.allSettled(runs).then(() => resolve())
  })
  for (let part = 2; part <= machines; part++) runs.push(start(part))
  const ends = await Promise.allSettled(runs)
  const refused = ends.find((end) => end.status === 'rejected')
  if (refused !== undefined) throw refused.reason
  return merged(ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : [])))
}

/** Several outcomes as one: the console is that of a machine in which something went wrong, if there is one. */
export function merged(outcomes: readonly RunOutcome[]): RunOutcome {
  const wrong = outcomes.find(({ problems, exitCode }) => problems.length > 0 || exitCode !== 0)
  const shown = wrong ?? outcomes[0]
  if (shown === undefined) throw new RangeError('no machine ran')
  return {
    ...shown,
    cases: outcomes.flatMap(({ cases }) => cases),
    problems: outcomes.flatMap(({ problems }) => problems),
  }
}
