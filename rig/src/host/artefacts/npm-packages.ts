import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RigUnavailableError } from '../errors.ts'
import type { Progress } from '../progress.ts'
import { runTool } from '../tool.ts'
import type { ArtefactCache } from './artefact-cache.ts'

/** One package of the npm registry. */
export interface NpmPackage {
  readonly name: string
  /** An exact version. */
  readonly version: string
}

/** Packages of the npm registry that are made for another machine than this, so that no install takes them. */
export class NpmPackages {
  readonly #cache: ArtefactCache
  readonly #progress: Progress

  constructor(cache: ArtefactCache, progress: Progress) {
    this.#cache = cache
    this.#progress = progress
  }

  /**
   * Folder with the unpacked contents of a package; npm checks their digest.
   *
   * @param paths what to take, relative to the package; all of it by default
   * @throws RigUnavailableError when npm cannot fetch it
   */
  unpacked({ name, version }: NpmPackage, paths: readonly string[] = []): Promise<string> {
    const artefact = `npm-${name.replaceAll('/', '-').replace('@', '')}`
    return this.#cache.artefact(artefact, { name, version, paths }, (folder) =>
      this.#progress.step(`fetching ${name} ${version} from the npm registry`, async () => {
        const downloads = join(folder, '.downloads')
        await mkdir(downloads)
        await runTool('npm', ['pack', '--silent', `${name}@${version}`], {
          folder: downloads,
        }).catch((cause: Error) => {
          throw new RigUnavailableError(
            `npm could not fetch ${name}@${version}; check the network and the registry npm is set to: ${cause.message}`,
            { cause },
          )
        })
        for (const file of await readdir(downloads)) {
          await runTool('tar', [
            '-xzf',
            join(downloads, file),
            '--strip-components=1',
            '-C',
            folder,
            ...paths.map((path) => `package/${path}`),
          ])
        }
        await rm(downloads, { recursive: true })
      }),
    )
  }
}
