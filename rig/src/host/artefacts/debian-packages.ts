import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RigError } from '../errors.ts'
import type { Progress } from '../progress.ts'
import { runTool } from '../tool.ts'
import { AptState } from './apt-state.ts'
import type { ArtefactCache } from './artefact-cache.ts'

/** One package at one version. */
export interface DebianPackage {
  readonly name: string
  readonly version: string
}

/** Debian's packages for arm64, looked up and unpacked without installing any. */
export class DebianPackages {
  readonly #cache: ArtefactCache
  readonly #progress: Progress
  readonly #apt: AptState

  constructor(cache: ArtefactCache, progress: Progress) {
    this.#cache = cache
    this.#progress = progress
    this.#apt = new AptState(
      {
        folder: join(cache.folder, 'debian-arm64-lists'),
        subject: 'packages for arm64',
        settings: {},
      },
      progress,
    )
  }

  /**
   * The packages named and all that they depend on, at the versions apt would install on an empty system.
   *
   * @throws RigUnavailableError when apt has no such package, or no list of packages can be had
   */
  async resolve(names: readonly string[]): Promise<DebianPackage[]> {
    const plan = await this.#apt.run(
      'apt-get',
      ['--simulate', '--no-install-recommends', 'install', ...names],
      `has no ${names.join(', ')} for arm64`,
    )
    return parseInstallPlan(plan)
  }

  /**
   * One package at the version apt would install, without what it depends on.
   *
   * @throws RigUnavailableError when apt has no such package, or no list of packages can be had
   */
  async resolveOne(name: string): Promise<DebianPackage> {
    return { name, version: parseVersion(await this.#show(name)) }
  }

  /**
   * The one package that a meta package stands for, such as the kernel behind `linux-image-arm64`.
   *
   * @throws RigUnavailableError when apt has no such package
   */
  async resolveMeta(name: string): Promise<DebianPackage> {
    return parseOnlyDependency(await this.#show(name))
  }

  /**
   * Folder with the unpacked contents of packages.
   *
   * @param name of the artefact
   * @param paths what to take, as patterns of `tar`; all of it by default
   * @throws RigUnavailableError when they cannot be downloaded
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
        const failure = `could not download ${specifiers.join(', ')}`
        await this.#apt.run('apt-get', ['download', ...specifiers], failure, { folder: downloads })
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

  #show(name: string): Promise<string> {
    const parameters = ['show', '--no-all-versions', name]
    return this.#apt.run('apt-cache', parameters, `has no ${name} for arm64`)
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

function parseVersion(record: string): string {
  const version = /^Version: (?<version>\S+)$/m.exec(record)?.groups?.['version']
  if (version === undefined) throw new RigError(`a package without a version: ${record}`)
  return version
}

function count(packages: readonly DebianPackage[]): string {
  return packages.length === 1 ? 'a package' : `${packages.length} packages`
}
