import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { until } from '../../time/waiting.ts'

/** The command beside the package's entry. */
const PROGRAM = fileURLToPath(new URL('./main.js', import.meta.resolve('@xmc/arm-virt')))

/** Backends that serve the same images to a domain, one after the other. None outlives it. */
export class Backends {
  readonly #parameters: readonly string[]
  readonly #started: Backend[] = []

  constructor(domain: number, paths: readonly string[]) {
    this.#parameters = [
      'serve',
      '--xen',
      '--json',
      '--foreign',
      `--domain=${domain}`,
      ...paths.flatMap((path) => ['--disk', path]),
    ]
  }

  /** Starts one; resolves when it serves. */
  async start(): Promise<Backend> {
    const backend = new Backend(this.#parameters)
    this.#started.push(backend)
    await backend.serves()
    return backend
  }

  [Symbol.dispose](): void {
    for (const backend of this.#started) void backend.kill()
  }
}

/** `arm-virt serve --xen` in a process of its own, which can be killed. */
export class Backend {
  readonly #child: ChildProcess
  readonly #closed: Promise<unknown>
  #notices = ''
  #output = ''

  constructor(parameters: readonly string[]) {
    this.#child = spawn(process.execPath, [PROGRAM, ...parameters], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#notices += text))
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#output += text))
    this.#closed = once(this.#child, 'close')
  }

  /** Resolves when it serves. */
  serves(): Promise<void> {
    return this.#until('does not serve', () => this.#notices.includes('serving'))
  }

  /** What it has said on standard error. */
  get notices(): string {
    return this.#notices
  }

  /** Kills it, with whatever it is doing. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
  }

  /** Lets it end, and returns what it told of itself. */
  async stop(): Promise<unknown> {
    this.#child.kill('SIGTERM')
    return await this.ended()
  }

  /** Resolves when it has ended by itself, with what it told of itself: the JSON that it printed. */
  async ended(): Promise<unknown> {
    await this.#until('does not end', () => this.#child.exitCode !== null)
    await this.#closed
    return JSON.parse(this.#output)
  }

  async #until(complaint: string, condition: () => boolean): Promise<void> {
    const child = this.#child
    const settled = (): boolean =>
      condition() || child.exitCode !== null || child.signalCode !== null
    try {
      await until(`the backend ${complaint}`, settled)
    } catch (cause) {
      throw new Error(`the backend ${complaint}; it said: ${this.#notices}`, { cause })
    }
    if (condition()) return
    const how = child.signalCode ?? child.exitCode
    throw new Error(`the backend ended with ${how}, and ${complaint}; it said: ${this.#notices}`)
  }
}
