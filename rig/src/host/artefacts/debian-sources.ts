import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { RigUnavailableError } from '../errors.ts'
import type { Progress } from '../progress.ts'
import { AptState } from './apt-state.ts'
import { type ArtefactCache, artefactName } from './artefact-cache.ts'

/** Where apt has its sources. */
const hostSources = ['/etc/apt/sources.list', '/etc/apt/sources.list.d']

/** A source package that was downloaded. */
export interface DebianSource {
  readonly version: string
  /** Folder with its archives. */
  readonly folder: string
}

/** Debian's source packages. Hosts seldom have lists of them, so the lists are made from the sources of packages. */
export class DebianSources {
  readonly #cache: ArtefactCache
  readonly #progress: Progress
  readonly #apt: AptState

  constructor(cache: ArtefactCache, progress: Progress) {
    const folder = join(cache.folder, 'debian-source-lists')
    const parts = join(folder, 'sources')
    this.#cache = cache
    this.#progress = progress
    this.#apt = new AptState(
      {
        folder,
        subject: 'source packages',
        settings: { 'Dir::Etc::SourceList': '/dev/null', 'Dir::Etc::SourceParts': parts },
        prepare: () => writeSourceLists(parts),
      },
      progress,
    )
  }

  /**
   * The newest version of a source package that is in the cache, else the newest that can be downloaded:
   * a mirror may list a version that it does not have.
   *
   * @param prefix how the version starts
   * @throws RigUnavailableError when none can be had
   */
  async newest(name: string, prefix: string): Promise<DebianSource> {
    const failure = `has no source package ${name}`
    const records = await this.#apt.run('apt-cache', ['showsrc', '--only-source', name], failure)
    const versions = parseSourceVersions(records).filter((version) => version.startsWith(prefix))
    const kind = `debian-${name}-source`
    const cached = versions.find((version) =>
      existsSync(join(this.#cache.folder, artefactName(kind, { version }))),
    )
    let refusal: unknown
    for (const version of cached === undefined ? versions : [cached]) {
      try {
        const folder = await this.#cache.artefact(kind, { version }, (into) =>
          this.#progress.step(`fetching the source package ${name} ${version}`, () =>
            this.#download(name, version, into),
          ),
        )
        return { version, folder }
      } catch (error) {
        refusal = error
      }
    }
    if (refusal instanceof Error) throw refusal
    throw new RigUnavailableError(`apt ${failure} of version ${prefix}`)
  }

  async #download(name: string, version: string, folder: string): Promise<void> {
    const parameters = ['source', '--download-only', '--only-source', `${name}=${version}`]
    const failure = `could not download the source package ${name} ${version}`
    await this.#apt.run('apt-get', parameters, failure, { folder })
  }
}

/** Versions in what `apt-cache showsrc` prints, the newest first. */
export function parseSourceVersions(records: string): string[] {
  const found = [...records.matchAll(/^Version: (?<version>\S+)$/gm)]
  const versions = new Set(found.map(({ groups }) => groups?.['version'] ?? ''))
  return [...versions].toSorted((left, right) => right.localeCompare(left, 'en', { numeric: true }))
}

/** Sources of packages, in either format of apt, as sources of source packages at the same places. */
export function sourcesOfSources(text: string): string {
  return text.replaceAll(/^(?<start>(?:Types: *)?)deb(?=\s|$)/gm, '$<start>deb-src')
}

async function writeSourceLists(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const files: string[] = []
  for (const place of hostSources.filter((path) => existsSync(path))) {
    if (place.endsWith('.list')) files.push(place)
    else files.push(...(await readdir(place)).map((name) => join(place, name)))
  }
  for (const file of files.filter((name) => /\.(list|sources)$/.test(name))) {
    await writeFile(join(folder, basename(file)), sourcesOfSources(await readFile(file, 'utf8')))
  }
}
