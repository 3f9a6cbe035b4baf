import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'

const packageRoot = fileURLToPath(new URL('../..', import.meta.url))

/** Milliseconds after which a process is ended by SIGTERM. */
const TIME_LIMIT = 110_000

/** How a process ended. */
export interface ProgramResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** `arm-virt`, bundled from the sources, to be run in processes of its own. */
export class Program {
  readonly #folder: string

  static async bundle(): Promise<Program> {
    // Beside the sources: `main.ts` looks for the manifest one folder up.
    const folder = mkdtempSync(`${packageRoot}.program-`)
    await build({
      input: fileURLToPath(new URL('../../src/main.ts', import.meta.url)),
      platform: 'node',
      external: ['koffi'],
      resolve: { conditionNames: ['@xmc/source', 'import', 'node', 'default'] },
      transform: { target: 'node20' },
      output: { file: `${folder}/main.mjs`, format: 'esm' },
      logLevel: 'warn',
    })
    return new Program(folder)
  }

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** Starts it, with its standard output in a file if one is named. */
  start(parameters: readonly string[], output?: string): RunningProgram {
    const program = [process.execPath, `${this.#folder}/main.mjs`, ...parameters]
    const shell = ['sh', '-c', `exec "$@" > '${output}'`, 'sh']
    const [file = '', ...rest] = output === undefined ? program : [...shell, ...program]
    const child = spawn(file, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIME_LIMIT,
      // The native library is a dependency of hostmem alone.
      env: { ...process.env, NODE_PATH: `${packageRoot}/../../packages/hostmem/node_modules` },
    })
    return new RunningProgram(child)
  }

  /** Runs it to its end. */
  async run(parameters: readonly string[], output?: string): Promise<ProgramResult> {
    return await this.start(parameters, output).ended
  }

  /** Removes the bundle. */
  remove(): void {
    rmSync(this.#folder, { recursive: true })
  }
}

/** A process of `arm-virt`. */
export class RunningProgram {
  /** Resolves when it has ended. */
  readonly ended: Promise<ProgramResult>
  readonly #child: ChildProcessByStdio<null, Readable, Readable>

  constructor(child: ChildProcessByStdio<null, Readable, Readable>) {
    this.#child = child
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
    })
  }

  /** Resolves when a guest is there: when its memory is. */
  async hasGuest(): Promise<void> {
    const maps = `/proc/${this.#child.pid}/maps`
    while (existsSync(maps) && this.#child.exitCode === null) {
      if (readFileSync(maps, 'utf8').includes('xmc-sim')) return
      await setTimeout(10)
    }
    throw new Error('the program has ended before it had a guest')
  }

  /** Stops reading its output. */
  closeOutput(): void {
    this.#child.stdout.destroy()
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
}
