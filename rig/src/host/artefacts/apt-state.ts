import { existsSync } from 'node:fs'
import { mkdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RigUnavailableError } from '../errors.ts'
import type { Progress } from '../progress.ts'
import { hasTool, runTool, type ToolOptions } from '../tool.ts'

/** Age at which lists are fetched again, where there is a network. */
const listDays = 7

/** What sets one state of apt apart from that of the host. */
export interface AptStateOptions {
  /** Where it is kept. */
  readonly folder: string
  /** What its lists are of, for people. */
  readonly subject: string
  /** Settings beside those that every state has, by name. */
  readonly settings: Readonly<Record<string, string>>
  /** Makes files that the settings name, before lists are fetched. */
  readonly prepare?: () => Promise<void>
}

/**
 * apt with lists of its own, for a system that has nothing installed: neither root nor a foreign architecture is needed, and
 * what is installed on the host does not change. Sources, keys and proxies are the host's.
 */
export class AptState {
  readonly #options: AptStateOptions
  readonly #progress: Progress
  readonly #settings: string
  readonly #stamp: string

  constructor(options: AptStateOptions, progress: Progress) {
    this.#options = options
    this.#progress = progress
    this.#settings = join(options.folder, 'apt.conf')
    this.#stamp = join(options.folder, 'complete')
  }

  /**
   * Runs `apt-get` or `apt-cache` on lists that are at most a week old, or on older ones when no others can
   * be had, and resolves with what it prints.
   *
   * @param failure what it means that apt fails, as "has no such package"
   * @throws RigUnavailableError when apt fails
   */
  async run(
    tool: 'apt-get' | 'apt-cache',
    parameters: readonly string[],
    failure: string,
    options: ToolOptions = {},
  ): Promise<string> {
    await this.#refresh()
    try {
      return await this.#apt(tool, parameters, options)
    } catch (cause) {
      // apt calls it a success when some of its sources did not answer: the next run asks again.
      await rm(this.#stamp, { force: true })
      throw unavailable(failure, cause)
    }
  }

  #apt(
    tool: 'apt-get' | 'apt-cache',
    parameters: readonly string[],
    options: ToolOptions = {},
  ): Promise<string> {
    return runTool(tool, ['--config-file', this.#settings, ...parameters], options)
  }

  async #refresh(): Promise<void> {
    if (!hasTool('apt-get') || !hasTool('dpkg')) {
      throw new RigUnavailableError(
        'apt-get and dpkg are needed to fetch Xen and Linux for arm64 from Debian: the rig runs on Debian 12',
      )
    }
    await this.#writeSettings()
    const age = existsSync(this.#stamp) ? Date.now() - (await stat(this.#stamp)).mtimeMs : Infinity
    if (age < listDays * 24 * 60 * 60 * 1000) return
    await this.#options.prepare?.()
    const { subject } = this.#options
    try {
      await this.#progress.step(`fetching Debian's list of ${subject}`, () =>
        this.#apt('apt-get', ['update']),
      )
      await writeFile(this.#stamp, '')
    } catch (cause) {
      if (!existsSync(this.#stamp)) {
        throw unavailable(`could not fetch the list of ${subject}`, cause)
      }
      this.#progress.say(`the list of ${subject} could not be fetched again; the old one serves`)
      const now = new Date()
      await utimes(this.#stamp, now, now)
    }
  }

  async #writeSettings(): Promise<void> {
    const { folder, settings } = this.#options
    const all = {
      'APT::Architecture': 'arm64',
      'APT::Architectures': 'arm64',
      'Dir::State::lists': join(folder, 'lists'),
      'Dir::Cache': join(folder, 'cache'),
      'Dir::State::status': '/dev/null',
      // Downloads go into a folder that only this user may read.
      'APT::Sandbox::User': 'root',
      'Acquire::Retries': '2',
      'Acquire::http::Timeout': '30',
      'Acquire::https::Timeout': '30',
      ...settings,
    }
    await mkdir(join(folder, 'lists/partial'), { recursive: true })
    await mkdir(join(folder, 'cache/archives/partial'), { recursive: true })
    const lines = Object.entries(all).map(([name, value]) => `${name} "${value}";\n`)
    await writeFile(this.#settings, lines.join(''))
  }
}

function unavailable(what: string, cause: unknown): RigUnavailableError {
  const message = cause instanceof Error ? cause.message : String(cause)
  const error = /^E: (?<text>.*)$/m.exec(message)?.groups?.['text'] ?? message
  return new RigUnavailableError(
    `apt ${what}: ${error}; check the network, and that the package sources are those of Debian 12`,
    { cause },
  )
}
