import { existsSync } from 'node:fs'
import { mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RigError, RigUnavailableError } from '../errors.ts'
import type { Progress } from '../progress.ts'
import { hasTool, runTool } from '../tool.ts'
import type { ArtefactCache } from './artefact-cache.ts'

/** Age at which the list of packages is fetched again, where there is a network. */
const LIST_DAYS = 7

/** One package at one version. */
export interface DebianPackage {
  readonly name: string
  readonly version: string
}

/**
 * Debian's packages for arm64, through apt with lists of its own: neither root nor a foreign architecture
 * is needed, and what is installed on the host does not change. Sources, keys and proxies are the host's.
 */
export class DebianPackages {
  readonly #cache: ArtefactCache
  readonly #progress: Progress
  readonly #state: string
  readonly #stamp: string
  readonly #settings: string

  constructor(cache: ArtefactCache, progress: Progress) {
    this.#cache = cache
    this.#progress = progress
    this.#state = join(cache.folder, 'debian-arm64-lists')
    this.#stamp = join(this.#state, 'complete')
    this.#settings = join(this.#state, 'apt.conf')
  }

  /**
   * The packages named and all that they depend on, at the versions apt would install on an empty system.
   *
   * @throws RigUnavailableError when apt has no such package, or no list of packages can be had
   */
  async resolve(names: readonly string[]): Promise<DebianPackage[]> {
    await this.#refresh()
    try {
      const plan = await runTool('apt-get', [
        ...this.#options(),
        '--simulate',
        '--no-install-recommends',
        'install',
        ...names,
      ])
      return parseInstallPlan(plan)
    } catch (cause) {
      throw await this.#missing(names.join(', '), cause)
    }
  }

  /**
   * The one package that a meta package stands for, such as the kernel behind `linux-image-arm64`.
   *
   * @throws RigUnavailableError when apt has no such package
   */
  async resolveMeta(name: string): Promise<DebianPackage> {
    await this.#refresh()
    const record = await runTool('apt-cache', [
      ...this.#options(),
      'show',
      '--no-all-versions',
      name,
    ]).catch(async (cause: unknown) => {
      throw await this.#missing(name, cause)
    })
    return parseOnlyDependency(record)
  }

  /**
   * Folder with the unpacked contents of packages.
   *
   * @param name of the artefact
   * @param paths what to take, as patterns of `tar`; all of it by default
   */
  unpacked(
    name: string,
    packages: readonly DebianPackage[],
    paths: readonly string[] = ['.'],
  ): Promise<string> {
    const specifiers = packages.map(({ name: wanted, version }) => `${wanted}=${version}`)
    return this.#cache.artefact(name, { packages: specifiers, paths }, (folder) =>
      this.#progress.step(`fetching ${count(packages)} of Debian for ${name}`, async () => {
        const downloads = join(folder, '.downloads')
        await mkdir(downloads)
        await this.#download(specifiers, downloads)
        for (const file of await readdir(downloads)) {
          // The unpacking tar reads from dpkg, which knows every compression that Debian uses.
          await runTool('sh', [
            '-c',
            'package=$1 folder=$2; shift 2; dpkg --fsys-tarfile "$package" | tar -x -C "$folder" --wildcards "$@"',
            'unpack',
            join(downloads, file),
            folder,
            ...paths,
          ])
        }
        await rm(downloads, { recursive: true })
      }),
    )
  }

  async #missing(names: string, cause: unknown): Promise<RigUnavailableError> {
    // apt calls it a success when some of its sources did not answer: the next run asks again.
    await rm(this.#stamp, { force: true })
    return unavailable(`has no ${names} for arm64`, cause)
  }

  async #download(specifiers: readonly string[], folder: string): Promise<void> {
    const parameters = [...this.#options(), 'download', ...specifiers]
    try {
      await runTool('apt-get', parameters, { folder })
    } catch (cause) {
      throw unavailable(`could not download ${specifiers.join(', ')}`, cause)
    }
  }

  async #refresh(): Promise<void> {
    if (!hasTool('apt-get') || !hasTool('dpkg')) {
      throw new RigUnavailableError(
        'apt-get and dpkg are needed to fetch Xen and Linux for arm64 from Debian: the rig runs on Debian 12',
      )
    }
    await this.#writeSettings()
    const stamp = this.#stamp
    const age = existsSync(stamp) ? Date.now() - (await stat(stamp)).mtimeMs : Infinity
    if (age < LIST_DAYS * 24 * 60 * 60 * 1000) return
    try {
      await this.#progress.step("fetching Debian's list of packages for arm64", () =>
        runTool('apt-get', [...this.#options(), 'update']),
      )
      await writeFile(stamp, '')
    } catch (cause) {
      if (!existsSync(stamp)) throw unavailable('could not fetch the list of packages', cause)
      this.#progress.say(
        'the list of packages could not be fetched again; going on with the old one',
      )
      const now = new Date()
      await utimes(stamp, now, now)
    }
  }

  #options(): string[] {
    return ['--config-file', this.#settings]
  }

  async #writeSettings(): Promise<void> {
    const settings = {
      'APT::Architecture': 'arm64',
      'APT::Architectures': 'arm64',
      'Dir::State::lists': join(this.#state, 'lists'),
      'Dir::Cache': join(this.#state, 'cache'),
      // Nothing is installed on the system that packages are looked up for.
      'Dir::State::status': '/dev/null',
      // Downloads go into a folder that only this user may read.
      'APT::Sandbox::User': 'root',
      'Acquire::Retries': '2',
      'Acquire::http::Timeout': '30',
      'Acquire::https::Timeout': '30',
    }
    await mkdir(join(this.#state, 'lists/partial'), { recursive: true })
    await mkdir(join(this.#state, 'cache/archives/partial'), { recursive: true })
    const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`)
    await writeFile(this.#settings, lines.join(''))
  }
}

/** Packages in what `apt-get --simulate install` prints, sorted by name. */
export function parseInstallPlan(plan: string): DebianPackage[] {
  return [...plan.matchAll(/^Inst (?<name>\S+) \((?<version>\S+) /gm)]
    .map(({ groups }) => ({ name: groups?.['name'] ?? '', version: groups?.['version'] ?? '' }))
    .toSorted((left, right) => (left.name < right.name ? -1 : 1))
}

/**
 * The package that a meta package depends on, in what `apt-cache show` prints.
 *
 * @throws RigError when it does not depend on exactly one package at a version
 */
export function parseOnlyDependency(record: string): DebianPackage {
  const dependencies = /^Depends: (?<all>.*)$/m.exec(record)?.groups?.['all'] ?? ''
  const only = /^(?<name>[^ ,|]+) \(= (?<version>[^ ,|)]+)\)$/.exec(dependencies)?.groups
  if (only?.['name'] === undefined || only['version'] === undefined) {
    throw new RigError(`one package at a version was expected, and this is "${dependencies}"`)
  }
  return { name: only['name'], version: only['version'] }
}

function count(packages: readonly DebianPackage[]): string {
  return packages.length === 1 ? 'a package' : `${packages.length} packages`
}

function unavailable(what: string, cause: unknown): RigUnavailableError {
  const message = cause instanceof Error ? cause.message : String(cause)
  const errors = [...message.matchAll(/^E: (?<text>.*)$/gm)].map(({ groups }) => groups?.['text'])
  return new RigUnavailableError(
    `apt ${what}: ${errors[0] ?? message}; check the network, and that the package sources are those of Debian 12`,
    { cause },
  )
}
