// @ts-check
// Packs every public package and uses the tarballs as a stranger does: installed by plain npm in an
// empty project, every export imported by node, the first TypeScript example of each README type-checked
// and run, and every command asked for its version. The board has a simulated guest read a disk.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import process from 'node:process'
import { checkRow, report } from './lib/report.mjs'
import { root } from './lib/root.mjs'
import { run } from './lib/run.mjs'
import { listPackages } from './lib/workspace.mjs'

/** @typedef {import('./lib/workspace.mjs').WorkspacePackage} WorkspacePackage */

const packages = (await listPackages()).filter(({ manifest }) => !manifest.private)
// The real path, since tsc and node report real paths.
const temporary = realpathSync(mkdtempSync(join(tmpdir(), 'xmc-packed-')))
const consumer = join(temporary, 'consumer')
await report('install', async () => {
  try {
    await must('npm', ['run', '--silent', 'build'], root)
    await install(await pack())
    const diagnostics = await typeCheck()
    const rows = []
    for (const each of packages) rows.push(await check(each, diagnostics))
    return rows
  } finally {
    rmSync(temporary, { recursive: true })
  }
})

/** @returns {Promise<string[]>} the tarballs */
async function pack() {
  const tarballs = []
  for (const { folder } of packages) {
    const packed = await must('npm', ['pack', '--json', '--pack-destination', temporary], folder)
    /** @type {{ filename: string }[]} */
    const [tarball] = JSON.parse(packed)
    if (tarball === undefined) throw new Error(`npm pack made no tarball in ${folder}`)
    tarballs.push(join(temporary, basename(tarball.filename)))
  }
  return tarballs
}

/** @param {readonly string[]} tarballs */
async function install(tarballs) {
  mkdirSync(consumer)
  writeJson('package.json', { name: 'consumer', private: true, type: 'module' })
  await must(
    'npm',
    ['install', '--no-audit', '--no-fund', '--prefer-offline', ...tarballs],
    consumer,
  )
}

/**
 * Type-checks and compiles the consumer: one file for the exports and one for the example of each
 * package.
 *
 * @returns {Promise<string>} what tsc has to say
 */
async function typeCheck() {
  writeJson('tsconfig.json', {
    compilerOptions: {
      target: 'ES2023',
      lib: ['ES2023'],
      module: 'nodenext',
      moduleResolution: 'nodenext',
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
      outDir: 'dist',
    },
    include: ['*.ts'],
  })
  for (const each of packages) {
    writeFileSync(join(consumer, `${id(each)}.exports.ts`), importEverything(each))
    writeFileSync(join(consumer, `${id(each)}.example.ts`), example(each) ?? '')
  }
  const { output } = await run('tsc', ['-p', '.', '--pretty', 'false'], {
    folder: consumer,
    capture: true,
  })
  return output
}

/**
 * Has a simulated guest read the Node executable, all of it from the installed tarballs.
 *
 * @returns {Promise<string[]>} what is wrong
 */
async function selfTest() {
  const { code, output } = await run(
    join(consumer, 'node_modules/.bin/arm-virt'),
    ['selftest', '--json'],
    { folder: consumer, capture: true, timeout: 120_000 },
  )
  if (code !== 0) return [`arm-virt selftest: exit code ${code}`, ...output.trim().split('\n')]
  const { guestSha256, hostSha256, mappedPages, pinnedGrants } = JSON.parse(output)
  const isRight = guestSha256 === hostSha256 && mappedPages === 0 && pinnedGrants === 0
  return isRight ? [] : [`arm-virt selftest: the digests differ, or something is left: ${output}`]
}

/**
 * @param {WorkspacePackage} each
 * @param {string} diagnostics
 * @returns {Promise<import('./lib/report.mjs').Row>}
 */
async function check(each, diagnostics) {
  const started = performance.now()
  const notes = diagnostics
    .split('\n')
    .filter(
      (line) => line.startsWith(`${id(each)}.`) || line.includes(`node_modules/${each.name}/`),
    )
  if (example(each) === undefined) {
    notes.push('README.md has no example: its first block marked "ts" is type-checked and run')
  }
  for (const program of ['exports', 'example']) {
    const { code, output } = await run(process.execPath, [`dist/${id(each)}.${program}.js`], {
      folder: consumer,
      capture: true,
      timeout: 60_000,
    })
    if (code !== 0) notes.push(...`${program}: exit code ${code}\n${output}`.trim().split('\n'))
  }
  for (const name of Object.keys(each.manifest.bin ?? {})) {
    const { code, output } = await run(join(consumer, 'node_modules/.bin', name), ['--version'], {
      folder: consumer,
      capture: true,
      timeout: 60_000,
    })
    if (code !== 0 || output !== `${each.manifest.version}\n`) {
      notes.push(`${name} --version: exit code ${code}`, ...output.trim().split('\n'))
    }
  }
  if (each.manifest.bin?.['arm-virt'] !== undefined) notes.push(...(await selfTest()))
  const state = notes.length > 0 ? 'failed' : 'passed'
  const paths = exportPaths(each).join(', ')
  process.stdout.write(`${each.name} ${each.manifest.version} ${state}: ${paths}, README example\n`)
  for (const note of notes) process.stdout.write(`    ${note}\n`)
  const seconds = (performance.now() - started) / 1000
  return checkRow('install', each.name, state, seconds, notes.slice(0, 3))
}

/**
 * @param {WorkspacePackage} each
 * @returns {string} a program that imports every export path and fails when one exports nothing
 */
function importEverything(each) {
  const paths = exportPaths(each)
  return [
    ...paths.map((path, index) => `import * as module${index} from '${path}'`),
    ...paths.map(
      (path, index) =>
        `if (Object.keys(module${index}).length === 0) throw new Error('${path} exports nothing')`,
    ),
    '',
  ].join('\n')
}

/**
 * @param {WorkspacePackage} each
 * @returns {string[]} such as `@xmc/core/errors`
 */
function exportPaths({ name, manifest }) {
  return Object.keys(manifest.exports ?? {})
    .filter((path) => path !== './package.json')
    .map((path) => name + path.slice(1))
}

/**
 * @param {WorkspacePackage} each
 * @returns {string | undefined}
 */
function example({ name }) {
  const readme = join(consumer, 'node_modules', name, 'README.md')
  return existsSync(readme)
    ? /^```ts\n(.*?)^```$/ms.exec(readFileSync(readme, 'utf8'))?.[1]
    : undefined
}

/**
 * @param {WorkspacePackage} each
 * @returns {string}
 */
function id({ path }) {
  return path.replaceAll('/', '-')
}

/**
 * @param {string} command
 * @param {string[]} parameters
 * @param {string} folder
 * @returns {Promise<string>}
 */
async function must(command, parameters, folder) {
  const { code, output } = await run(command, parameters, { folder, capture: true })
  if (code === 0) return output
  throw new Error(`${command} ${parameters.join(' ')} ended with ${code} in ${folder}:\n${output}`)
}

/**
 * @param {string} file
 * @param {unknown} content
 */
function writeJson(file, content) {
  writeFileSync(join(consumer, file), JSON.stringify(content, undefined, 2))
}
