import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

const millisecondsPerDay = 24 * 60 * 60 * 1000

/** Days after which an artefact that nothing used is removed. */
const unusedDays = 30

/** Days after which a folder that a killed process has left is removed. */
const leftoverDays = 1

/**
 * What an artefact is made from: versions, settings and digests, whose JSON decides whether an artefact
 * that is there can be used.
 */
export type Ingredients = Readonly<
  Record<string, string | number | boolean | null | readonly string[]>
>

/**
 * Folders of things that were downloaded or built, found again by what they were made from. Several
 * processes may share one.
 */
export class ArtefactCache {
  /** Where the artefacts are. */
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
  }

  /**
   * The folder of an artefact; it is only read. `build` fills an empty folder when there is none from
   * the same ingredients yet. A build that fails leaves nothing behind.
   *
   * @param name kind of artefact, a file name
   */
  async artefact(
    name: string,
    ingredients: Ingredients,
    build: (folder: string) => Promise<void>,
  ): Promise<string> {
    const folder = join(this.folder, artefactName(name, ingredients))
    if (existsSync(folder)) {
      const now = new Date()
      await utimes(folder, now, now)
      return folder
    }
    const partial = await this.workFolder(name)
    try {
      await build(partial)
      await writeFile(join(partial, '.ingredients.json'), JSON.stringify(ingredients, undefined, 2))
      await rename(partial, folder)
    } catch (error) {
      await rm(partial, { recursive: true, force: true })
      // Another process may have built the same one meanwhile.
      if (!existsSync(folder)) throw error
    }
    await this.#removeOld(`${name}-`, unusedDays)
    return folder
  }

  /** A new empty folder on the same file system, which the caller removes. */
  async workFolder(name: string): Promise<string> {
    await mkdir(this.folder, { recursive: true })
    await this.#removeOld('.partial-', leftoverDays)
    return mkdtemp(join(this.folder, `.partial-${name}-`))
  }

  async #removeOld(prefix: string, days: number): Promise<void> {
    const oldest = Date.now() - days * millisecondsPerDay
    for (const entry of await readdir(this.folder)) {
      if (!entry.startsWith(prefix)) continue
      const folder = join(this.folder, entry)
      const found = await stat(folder).catch(() => undefined)
      if (found !== undefined && found.mtimeMs < oldest) {
        await rm(folder, { recursive: true, force: true })
      }
    }
  }
}

/** Name of the folder of an artefact: its kind and 16 hexadecimal digits of a digest of its ingredients. */
export function artefactName(name: string, ingredients: Ingredients): string {
  const sorted = Object.entries(ingredients).toSorted(([left], [right]) => (left < right ? -1 : 1))
  const digest = createHash('sha256').update(JSON.stringify(sorted)).digest('hex')
  return `${name}-${digest.slice(0, 16)}`
}

/**
 * Where artefacts are cached: `XMC_CACHE_DIR`, else `xmc` in `XDG_CACHE_HOME`, else in `~/.cache`.
 *
 * @param variables of the environment
 */
export function cacheFolder(
  variables: Readonly<Record<string, string | undefined>>,
  home: string = homedir(),
): string {
  const own = variables['XMC_CACHE_DIR']
  if (own) return own
  return join(variables['XDG_CACHE_HOME'] || join(home, '.cache'), 'xmc')
}
