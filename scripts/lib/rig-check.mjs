// @ts-check
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkRow } from './report.mjs'
import { root } from './root.mjs'
import { run } from './run.mjs'

/** @typedef {import('./report.mjs').Row} Row */

/**
 * What the rig writes with `--results`.
 *
 * @typedef {{ error: { code: string, message: string } } | {
 *   cases: { suite: string, id: string, title: string, outcome: 'passed' | 'failed' | 'skipped',
 *     milliseconds: number, detail?: string }[],
 *   problems: string[],
 *   seconds: number,
 * }} Results
 */

/**
 * Runs a command of the rig and counts each suite as a row. On a machine that has no emulator and cannot
 * install one, it says so and counts as skipped.
 *
 * @param {string} step
 * @param {string} script of the command, in `scripts`
 * @param {readonly string[]} [parameters]
 * @returns {Promise<Row[]>}
 */
export async function checkWithRig(step, script, parameters = []) {
  const folder = mkdtempSync(join(tmpdir(), `xmc-${step}-`))
  try {
    const file = join(folder, 'results.json')
    const { code, seconds } = await run('node', [
      join(root, 'scripts', script),
      `--results=${file}`,
      ...parameters,
    ])
    if (!existsSync(file)) {
      const note = `failed: ${script} ended with ${code} and without results, see above`
      return [checkRow(step, 'dom0', 'failed', seconds, [note])]
    }
    return rowsOf(step, JSON.parse(readFileSync(file, 'utf8')), code, seconds)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/**
 * @param {string} step
 * @param {Results} results
 * @param {number} code
 * @param {number} seconds
 * @returns {Row[]}
 */
function rowsOf(step, results, code, seconds) {
  if ('error' in results) {
    const { code: errorCode, message } = results.error
    const note = message.split('\n')[0] ?? ''
    return errorCode === 'ERR_XMC_RIG_UNAVAILABLE'
      ? [checkRow(step, 'dom0', 'skipped', seconds, [`skipped: ${note}`])]
      : [checkRow(step, 'dom0', 'failed', seconds, [`failed: ${note}`])]
  }
  const suites = [...new Set(results.cases.map(({ suite }) => suite))]
  const rows = suites.map((suite) => suiteRow(step, suite, results.cases))
  const problems = results.problems.map((problem) => `failed: ${problem}`)
  if (problems.length === 0 && code !== 0 && rows.every(({ failed }) => failed === 0)) {
    problems.push(`failed: dom0's program ended with ${code}`)
  }
  return problems.length === 0
    ? rows
    : [...rows, checkRow(step, 'dom0', 'failed', results.seconds, problems)]
}

/**
 * @param {string} step
 * @param {string} suite
 * @param {Extract<Results, { cases: unknown }>['cases']} cases
 * @returns {Row}
 */
function suiteRow(step, suite, cases) {
  /** @type {Row} */
  const row = { step, subject: suite, passed: 0, failed: 0, skipped: 0, seconds: 0, notes: [] }
  for (const { suite: of, id, title, outcome, milliseconds, detail } of cases) {
    if (of !== suite) continue
    row[outcome] += 1
    row.seconds += milliseconds / 1000
    if (outcome === 'failed') row.notes.push(`failed: ${id} ${title}`)
    if (outcome === 'skipped') row.notes.push(`skipped: ${id} ${title}: ${detail ?? 'no reason'}`)
  }
  return row
}
