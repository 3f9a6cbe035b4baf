import { execFile } from 'node:child_process'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Addressing } from '@xmc/arm-virt'
import { attacks } from './attacks/all.ts'
import type { DuelResult } from './duel.ts'

/** Milliseconds that a process may take for one attack. */
const LIMIT_MILLISECONDS = 180_000

/** One attack by one kind of address. */
export interface Duel {
  readonly id: string
  readonly title: string
  readonly addressing: Addressing
  /** Undefined where the process did not get to the end of it. */
  readonly result?: DuelResult
  /** How the process ended instead: a signal, or the first line of its complaint. */
  readonly ended?: string
}

/** What all attacks did. */
export interface HostileResults {
  readonly node: string
  readonly cpu: string
  readonly duels: readonly Duel[]
}

/** How attacks are run. */
export interface DuelOptions {
  readonly quick: boolean
  /** Only attacks whose names begin so. */
  readonly only?: readonly string[] | undefined
  readonly onProgress: (what: string, done: number, total: number) => void
}

/** Runs every attack by grants and by plain addresses, each in a process of its own. */
export async function runDuels({ quick, only, onProgress }: DuelOptions): Promise<HostileResults> {
  const wanted = attacks
    .filter(({ id }) => only?.some((start) => id.startsWith(start)) !== false)
    .flatMap((attack) => (['grants', 'foreign'] as const).map((by) => ({ ...attack, by })))
  const duels: Duel[] = []
  for (const { id, title, by } of wanted) {
    onProgress(`${id}, by ${by}`, duels.length, wanted.length)
    const outcome = await inProcess([id, by, quick ? 'quick' : 'full'])
    duels.push({ id, title, addressing: by, ...outcome })
  }
  return { node: process.version, cpu: cpus()[0]?.model ?? 'unknown', duels }
}

function inProcess(parameters: readonly string[]): Promise<Pick<Duel, 'result' | 'ended'>> {
  const program = fileURLToPath(new URL('../hostile.js', import.meta.url))
  const options = {
    timeout: LIMIT_MILLISECONDS,
    killSignal: 'SIGKILL',
    maxBuffer: 2 ** 26,
  } as const
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...parameters], options, (error, stdout, stderr) => {
      if (error === null) return resolve({ result: JSON.parse(stdout) })
      const complaint = stderr.split('\n').find((line) => /error/i.test(line))
      resolve({ ended: complaint?.trim() ?? String(error.signal ?? error.code) })
    })
  })
}
