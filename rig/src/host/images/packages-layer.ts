import { existsSync, realpathSync } from 'node:fs'
import { chmod, cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { NpmPackage } from '../artefacts/npm-packages.ts'
import { RigError } from '../errors.ts'

/** Where the layer puts the rig and the packages; a program in it can import them by name. */
const packagesFolder = '/xmc'

/** What goes into the layer. */
export interface PackagesLayer {
  /** Folder of the rig's own package. */
  readonly rig: string
  /** What dom0 runs; a path relative to the place of the rig, or a name of one of the files. */
  readonly program: string
  readonly parameters: readonly string[]
  /** Files and folders of the host that are put beside the program. */
  readonly files: readonly string[]
}

/**
 * Fills a folder with the part of the initramfs that changes from run to run: init scripts, the built rig,
 * and the packages it depends on, all in one flat `node_modules`.
 *
 * @throws RigError when a package is not built, or is needed at two versions
 */
export async function writePackagesLayer(
  folder: string,
  layer: PackagesLayer,
  npm: { unpacked(wanted: NpmPackage): Promise<string> },
): Promise<void> {
  const place = join(folder, packagesFolder)
  const libraries = join(place, 'node_modules')
  await mkdir(libraries, { recursive: true })
  await cp(join(layer.rig, 'dist'), join(place, 'dist'), { recursive: true, filter: isRuntime })
  await cp(join(layer.rig, 'package.json'), join(place, 'package.json'))
  for (const dependency of await productionDependencies(layer.rig)) {
    const to = join(libraries, dependency.manifest.name)
    if (dependency.ofWorkspace) {
      await cp(join(dependency.folder, 'package.json'), join(to, 'package.json'))
      await cp(distOf(dependency), join(to, 'dist'), { recursive: true, filter: isRuntime })
    } else {
      await cp(dependency.folder, to, { recursive: true })
    }
    // The binary of koffi is a package of its own for each kind of machine.
    if (dependency.manifest.name === 'koffi') {
      const binary = '@koromix/koffi-linux-arm64'
      const { version } = dependency.manifest
      const from = await npm.unpacked({ name: binary, version })
      await cp(from, join(libraries, binary), { recursive: true })
    }
  }
  for (const file of layer.files) {
    if (['dist', 'node_modules', 'package.json', 'program.sh'].includes(basename(file))) {
      throw new RigError(`${basename(file)} is a name of the rig: give the file another`)
    }
    await cp(file, join(place, basename(file)), { recursive: true, dereference: true })
  }
  for (const domain of ['dom0', 'guest']) {
    const init = join(folder, `init-${domain}`)
    await cp(join(layer.rig, 'init', `${domain}.sh`), init)
    await chmod(init, 0o755)
  }
  const command = ['node', '--expose-gc', layer.program, ...layer.parameters]
  await writeFile(join(place, 'program.sh'), `exec ${command.map(shellWord).join(' ')}\n`)
}

/** A word as a shell takes it literally. */
export function shellWord(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`
}

interface Manifest {
  readonly name: string
  readonly version: string
  readonly dependencies?: Readonly<Record<string, string>>
}

interface Dependency {
  readonly folder: string
  readonly manifest: Manifest
  readonly ofWorkspace: boolean
}

async function productionDependencies(root: string): Promise<Dependency[]> {
  const found = new Map<string, Dependency>()
  const visit = async (folder: string, manifest: Manifest): Promise<void> => {
    for (const name of Object.keys(manifest.dependencies ?? {})) {
      const dependency = await readPackage(installedFolder(folder, name))
      const other = found.get(name)
      if (other === undefined) {
        found.set(name, dependency)
        await visit(dependency.folder, dependency.manifest)
      } else if (other.folder !== dependency.folder) {
        throw new RigError(`${name} is needed from ${other.folder} and from ${dependency.folder}`)
      }
    }
  }
  const { manifest } = await readPackage(root)
  await visit(root, manifest)
  return [...found.values()]
}

async function readPackage(folder: string): Promise<Dependency> {
  const manifest: Manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  return { folder, manifest, ofWorkspace: !folder.includes('/node_modules/') }
}

/** Where Node finds a package from a folder. */
function installedFolder(from: string, name: string): string {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name)
    if (existsSync(candidate)) return realpathSync(candidate)
    if (folder === dirname(folder)) {
      throw new RigError(`${name} is not installed, ${from} needs it: run "npm run setup"`)
    }
  }
}

function distOf({ folder, manifest }: Dependency): string {
  const dist = join(folder, 'dist')
  if (!existsSync(dist)) throw new RigError(`${manifest.name} is not built: run "npm run build"`)
  return dist
}

/** Leaves out what only compilers and debuggers read. */
function isRuntime(path: string): boolean {
  return !/\.(d\.ts|map|tsbuildinfo)$/.test(path)
}
