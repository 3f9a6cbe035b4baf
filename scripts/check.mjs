// @ts-check
// Runs every check of the repository, all of them even when some fail, and ends with one line that
// counts tests and checks.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { stripVTControlCharacters } from 'node:util'
import { checkRow, table, total } from './lib/report.mjs'
import { root } from './lib/root.mjs'
import { run } from './lib/run.mjs'
import { turbo } from './lib/turbo.mjs'
import { listPackages } from './lib/workspace.mjs'

/** @typedef {import('./lib/report.mjs').Row} Row */

/** What all checks together may take. */
const budgetSeconds = 28 * 60

/** What the documented commands take at most, on two processors. */
const commandsSeconds = 4 * 60

/**
 * The most telling first. What the budget may not suffice for comes last, and is skipped then.
 * A step gives its rows, or fails as a whole.
 *
 * @type {[name: string, check: (name: string) => Promise<Row[]>][]}
 */
const steps = [
  ['test', (name) => reporting(name, 'npm', ['test', '--'])],
  ['build', (name) => tasks(name, ['build'])],
  ['start', (name) => command(name, 'npm', ['start', '--silent', '--', '--json'])],
  ['types', (name) => tasks(name, ['typecheck', 'typecheck:scripts'])],
  ['package', (name) => tasks(name, ['check:package'])],
  ['lint', (name) => command(name, 'npm', ['run', '--silent', 'lint'])],
  ['format', (name) => command(name, 'npm', ['run', '--silent', 'check:format'])],
  ['unused', (name) => command(name, 'npm', ['run', '--silent', 'check:unused'])],
  ['changesets', (name) => command(name, 'npm', ['run', '--silent', 'check:changesets'])],
  ['install', (name) => reporting(name, 'npm', ['run', '--silent', 'check:packed', '--'])],
  ['nodes', (name) => reporting(name, 'npm', ['run', '--silent', 'check:nodes', '--'])],
  ['museum', (name) => reporting(name, 'npm', ['run', '--silent', 'check:museum', '--'])],
  ['long', (name) => reporting(name, 'npm', ['run', '--silent', 'test:long', '--'])],
  ['xen', (name) => reporting(name, 'npm', ['run', '--silent', 'check:xen', '--'])],
  [
    'guest',
    (name) =>
      reporting(name, 'npm', [
        'run',
        '--silent',
        'check:guest',
        '--',
        `--seconds-left=${secondsLeft()}`,
      ]),
  ],
  [
    'commands',
    async (name) =>
      secondsLeft() < commandsSeconds
        ? [
            checkRow(name, 'workspace', 'skipped', 0, [
              `skipped: ${secondsLeft()} seconds are left, and it may take ${commandsSeconds}`,
            ]),
          ]
        : await reporting(name, 'npm', ['run', '--silent', 'check:commands', '--']),
  ],
]

const reports = mkdtempSync(join(tmpdir(), 'xmc-ci-'))
/** @type {Row[]} */
const rows = []
/** @type {Row[]} */
const sums = []
try {
  for (const [name, check] of steps) {
    const started = performance.now()
    const found = await perform(name, check)
    rows.push(...found)
    sums.push({
      step: name,
      subject: 'all',
      ...total(found),
      seconds: (performance.now() - started) / 1000,
      notes: [],
    })
  }
} finally {
  rmSync(reports, { recursive: true })
}

const { passed, failed, skipped } = total(rows)
process.stdout.write(
  `\n${table(rows)}\n${table(sums)}\n${passed} passed, ${failed} failed, ${skipped} skipped\n`,
)
process.exitCode = failed > 0 ? 1 : 0

/** @returns {number} what is left of the budget */
function secondsLeft() {
  return Math.floor(budgetSeconds - performance.now() / 1000)
}

/**
 * @param {string} name
 * @param {(name: string) => Promise<Row[]>} check
 * @returns {Promise<Row[]>}
 */
async function perform(name, check) {
  process.stdout.write(`\n=== ${name}\n`)
  if (rows.length > 0 && !existsSync(join(root, 'node_modules/.xmc-setup'))) {
    return [checkRow(name, 'workspace', 'skipped', 0, ['skipped: the install failed, see above'])]
  }
  const started = performance.now()
  try {
    return await check(name)
  } catch (error) {
    const seconds = (performance.now() - started) / 1000
    return [checkRow(name, 'workspace', 'failed', seconds, [`failed: ${String(error)}`])]
  }
}

/**
 * A command that counts as one check.
 *
 * @param {string} name
 * @param {string} program
 * @param {string[]} parameters
 * @returns {Promise<Row[]>}
 */
async function command(name, program, parameters) {
  const { code, output, seconds } = await run(program, parameters, { capture: true })
  // oxlint and biome colour their output wherever CI is set, whatever NO_COLOR says.
  process.stdout.write(process.env['NO_COLOR'] ? stripVTControlCharacters(output) : output)
  return [
    code === 0
      ? checkRow(name, 'workspace', 'passed', seconds)
      : checkRow(name, 'workspace', 'failed', seconds, [`failed: exit code ${code}, see above`]),
  ]
}

/**
 * A script that reports rows of its own.
 *
 * @param {string} name
 * @param {string} program
 * @param {string[]} parameters
 * @returns {Promise<Row[]>}
 */
async function reporting(name, program, parameters) {
  const file = join(reports, `${name}.json`)
  const { code, seconds } = await run(program, [...parameters, `--report=${file}`])
  /** @type {Row[]} */
  const reported = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : []
  return complete(name, reported, code, seconds)
}

/**
 * A task of the packages; each package counts as one check.
 *
 * @param {string} name
 * @param {string[]} names of the tasks
 * @returns {Promise<Row[]>}
 */
async function tasks(name, names) {
  const { code, results } = await turbo(names)
  const found = results.map((result) => {
    const subject = result.package === '//' ? 'workspace' : result.package
    return result.code === 0
      ? checkRow(name, subject, 'passed', result.seconds)
      : checkRow(name, subject, 'failed', result.seconds, ['failed: see above'])
  })
  for (const { name: subject, manifest } of await listPackages()) {
    const missing =
      names.some((task) => manifest.scripts?.[task] !== undefined) &&
      !found.some((row) => row.subject === subject)
    if (!missing) continue
    found.push(checkRow(name, subject, 'skipped', 0, ['skipped: a task it needs has failed']))
  }
  return complete(name, found, code, 0)
}

/**
 * Adds a failure to the rows of a step when they do not explain its exit code.
 *
 * @param {string} name
 * @param {Row[]} found
 * @param {number} code
 * @param {number} seconds
 * @returns {Row[]}
 */
function complete(name, found, code, seconds) {
  const { failed: failures, skipped: skips } = total(found)
  const explained = found.length > 0 && (code === 0 || failures + skips > 0)
  if (explained) return found
  const note = `failed: exit code ${code} with ${found.length} results, see above`
  return [...found, checkRow(name, 'workspace', 'failed', seconds, [note])]
}
