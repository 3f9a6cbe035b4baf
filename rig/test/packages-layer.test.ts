import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { shellWord, writePackagesLayer } from '../src/host/images/packages-layer.ts'
import { temporaryFolder } from './helpers/temporary-folder.ts'

/** Writes files into a folder and returns it. */
function tree(folder: string, files: Readonly<Record<string, string>>): string {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return folder
}

function link(target: string, path: string): void {
  mkdirSync(dirname(path), { recursive: true })
  symlinkSync(target, path)
}

function manifest(name: string, ...dependencies: readonly string[]): string {
  return JSON.stringify({
    name,
    version: '3.1.0',
    dependencies: Object.fromEntries(dependencies.map((dependency) => [dependency, '*'])),
  })
}

/** A workspace of a rig and a package, with a library that needs koffi. */
function workspace(): string {
  const root = tree(temporaryFolder(), {
    'rig/package.json': manifest('@xmc/rig', '@xmc/core'),
    'rig/dist/dom0/main.js': 'main',
    'rig/dist/dom0/main.d.ts': 'types',
    'rig/dist/dom0/main.js.map': 'map',
    'rig/init/dom0.sh': 'dom0',
    'rig/init/guest.sh': 'guest',
    'core/package.json': manifest('@xmc/core', 'library'),
    'core/dist/index.js': 'core',
    'core/src/index.ts': 'source',
    'store/library/node_modules/library/package.json': manifest('library', 'koffi'),
    'store/library/node_modules/library/index.js': 'library',
    'store/koffi/node_modules/koffi/package.json': manifest('koffi'),
  })
  link(join(root, 'core'), join(root, 'rig/node_modules/@xmc/core'))
  const store = join(root, 'store')
  link(join(store, 'library/node_modules/library'), join(root, 'core/node_modules/library'))
  link(join(store, 'koffi/node_modules/koffi'), join(store, 'library/node_modules/koffi'))
  return root
}

const binaries = {
  unpacked: async ({ name, version }: { name: string; version: string }) =>
    tree(temporaryFolder(), { binary: `${name} ${version}` }),
}

async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .toSorted()
}

describe('writePackagesLayer', () => {
  it('holds the built rig, its packages and their libraries, and the binary of koffi for arm64', async () => {
    const rig = join(workspace(), 'rig')
    const layer = temporaryFolder()
    const program = { program: 'dist/dom0/main.js', parameters: ["it's"], files: [] }
    await writePackagesLayer(layer, { rig, ...program }, binaries)
    expect(await listFiles(layer)).toEqual([
      'init-dom0',
      'init-guest',
      'xmc/dist/dom0/main.js',
      'xmc/node_modules/@koromix/koffi-linux-arm64/binary',
      'xmc/node_modules/@xmc/core/dist/index.js',
      'xmc/node_modules/@xmc/core/package.json',
      'xmc/node_modules/koffi/package.json',
      'xmc/node_modules/library/index.js',
      'xmc/node_modules/library/package.json',
      'xmc/package.json',
      'xmc/program.sh',
    ])
    const text = (path: string): string => readFileSync(join(layer, path), 'utf8')
    expect(text('xmc/node_modules/@koromix/koffi-linux-arm64/binary')).toBe(
      '@koromix/koffi-linux-arm64 3.1.0',
    )
    expect(text('xmc/program.sh')).toBe(
      String.raw`exec 'node' '--expose-gc' 'dist/dom0/main.js' 'it'\''s'` + '\n',
    )
    expect(statSync(join(layer, 'init-dom0')).mode & 0o777).toBe(0o755)
  })

  it('puts files of the caller beside the program, and refuses one that would replace the rig', async () => {
    const rig = join(workspace(), 'rig')
    const own = tree(temporaryFolder(), { 'mine.mjs': 'mine', 'data/one': '1', 'dist/x': 'x' })
    const program = { rig, program: 'mine.mjs', parameters: [] }
    const layer = temporaryFolder()
    const files = [join(own, 'mine.mjs'), join(own, 'data')]
    await writePackagesLayer(layer, { ...program, files }, binaries)
    expect(readFileSync(join(layer, 'xmc/mine.mjs'), 'utf8')).toBe('mine')
    expect(readFileSync(join(layer, 'xmc/data/one'), 'utf8')).toBe('1')
    await expect(
      writePackagesLayer(temporaryFolder(), { ...program, files: [join(own, 'dist')] }, binaries),
    ).rejects.toThrow('dist is a name of the rig: give the file another')
  })

  it('says what to do about a package that is not built or not installed', async () => {
    const root = workspace()
    const program = { program: 'x', parameters: [], files: [] }
    const other = tree(join(root, 'other'), {
      'package.json': manifest('@xmc/other', '@xmc/absent'),
      'dist/main.js': '',
    })
    await expect(
      writePackagesLayer(temporaryFolder(), { rig: other, ...program }, binaries),
    ).rejects.toThrow(`@xmc/absent is not installed, ${other} needs it: run "npm run setup"`)
    const rig = tree(join(root, 'unbuilt'), {
      'package.json': manifest('@xmc/rig', '@xmc/source-only'),
      'dist/main.js': '',
    })
    tree(join(root, 'source-only'), { 'package.json': manifest('@xmc/source-only') })
    link(join(root, 'source-only'), join(rig, 'node_modules/@xmc/source-only'))
    await expect(
      writePackagesLayer(temporaryFolder(), { rig, ...program }, binaries),
    ).rejects.toThrow('@xmc/source-only is not built: run "npm run build"')
  })
})

describe('shellWord', () => {
  it('keeps what a shell would read', () => {
    expect(shellWord("a b'c $d")).toBe(String.raw`'a b'\''c $d'`)
  })
})
