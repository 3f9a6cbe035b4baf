import { spawn } from 'node:child_process'
import { stripVTControlCharacters } from 'node:util'
import { RigError } from '../errors.ts'
import { hasTool } from '../tool.ts'

/** How an emulator is run. */
export interface EmulatorOptions {
  readonly parameters: readonly string[]
  /** Seconds after which it is killed, whatever it does; undefined for no such limit. */
  readonly limitSeconds?: number | undefined
  /** Kills it. */
  readonly signal: AbortSignal
  /** Gets every line of the console as it comes, without control characters. */
  onLine(line: string): void
}

/** How an emulator ended. */
export type EmulatorEnd =
  /** The machine was powered off. */
  | 'powered-off'
  /** It took longer than its limit and was killed. */
  | 'limit'
  /** The signal was raised and it was killed. */
  | 'aborted'

/**
 * Boots a machine and resolves when its emulator is gone. It is gone in any case: after its limit, when the
 * signal is raised, and when this process exits or is killed.
 *
 * @throws RigError when the emulator cannot be started, or ends with an error of its own
 */
export function runEmulator(options: EmulatorOptions): Promise<EmulatorEnd> {
  return new Promise((resolve, reject) => {
    const [program, ...parameters] = [
      // The kernel kills it with us, even where no handler of ours can run.
      ...(hasTool('setpriv') ? ['setpriv', '--pdeathsig', 'KILL', '--'] : []),
      'qemu-system-aarch64',
      ...options.parameters,
    ]
    if (program === undefined || options.signal.aborted) return resolve('aborted')
    let end: EmulatorEnd = 'powered-off'
    let complaints = ''
    const child = spawn(program, parameters, {
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: a terminal's ^C is ours to handle.
      detached: true,
    })
    const kill = (): void => {
      child.kill('SIGKILL')
    }
    const { limitSeconds } = options
    const limit =
      limitSeconds === undefined
        ? undefined
        : setTimeout(() => {
            end = 'limit'
            kill()
          }, limitSeconds * 1000)
    const abort = (): void => {
      end = 'aborted'
      kill()
    }
    const settle = (): void => {
      clearTimeout(limit)
      options.signal.removeEventListener('abort', abort)
      process.removeListener('exit', kill)
    }
    options.signal.addEventListener('abort', abort)
    process.on('exit', kill)
    let line = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      // A line ends with a line feed, and any number of carriage returns before it.
      const [first = '', ...more] = text.split('\n')
      line += first
      for (const next of more) {
        options.onLine(plain(line))
        line = next
      }
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text))
    child.on('error', (cause) => {
      settle()
      reject(new RigError(`the emulator could not be started: ${cause.message}`, { cause }))
    })
    child.on('close', (code, ended) => {
      settle()
      if (line !== '') options.onLine(plain(line))
      if (end !== 'powered-off' || code === 0) return resolve(end)
      const how = ended ? `was ended by ${ended}` : `ended with ${code}`
      reject(new RigError(`the emulator ${how}: ${complaints.trim() || 'it said nothing'}`))
    })
  })
}

function plain(line: string): string {
  return stripVTControlCharacters(line).replaceAll(/(?!\t)\p{Cc}/gu, '')
}
