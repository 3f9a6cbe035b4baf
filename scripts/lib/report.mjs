// @ts-check
import { writeFileSync } from 'node:fs'
import process from 'node:process'

const option = '--report='

/**
 * One line of a result table: the tests of one package, or one check of one subject.
 *
 * @typedef {object} Row
 * @property {string} step
 * @property {string} subject a package, an exhibit, or `workspace`
 * @property {number} passed
 * @property {number} failed
 * @property {number} skipped
 * @property {number} seconds
 * @property {string[]} notes reasons of failures and skips, one line each
 */

/**
 * The row of a check that counts as one.
 *
 * @param {string} step
 * @param {string} subject
 * @param {'passed' | 'failed' | 'skipped'} state
 * @param {number} seconds
 * @param {readonly string[]} [notes]
 * @returns {Row}
 */
export function checkRow(step, subject, state, seconds, notes = []) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  counts[state] = 1
  return { step, subject, ...counts, seconds, notes: [...notes] }
}

/**
 * @param {readonly Row[]} rows
 * @returns {{ passed: number, failed: number, skipped: number }}
 */
export function total(rows) {
  const sum = { passed: 0, failed: 0, skipped: 0 }
  for (const row of rows) {
    sum.passed += row.passed
    sum.failed += row.failed
    sum.skipped += row.skipped
  }
  return sum
}

/**
 * The rows as a table with a heading, their notes below the rows they belong to.
 *
 * @param {readonly Row[]} rows
 * @returns {string}
 */
export function table(rows) {
  const heading = ['step', 'subject', 'passed', 'failed', 'skipped', 'seconds']
  const cells = rows.map((row) => [
    row.step,
    row.subject,
    String(row.passed),
    String(row.failed),
    String(row.skipped),
    row.seconds.toFixed(1),
  ])
  const widths = heading.map((title, column) =>
    Math.max(title.length, ...cells.map((line) => line[column]?.length ?? 0)),
  )
  /** @param {readonly string[]} line */
  const format = (line) =>
    line
      .map((cell, column) =>
        column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd()
  const lines = [format(heading)]
  rows.forEach((row, index) => {
    lines.push(format(cells[index] ?? []))
    for (const note of row.notes) lines.push(`    ${note}`)
  })
  return `${lines.join('\n')}\n`
}

/**
 * Does the work of a check, hands its rows to whoever asked for them with `--report=<file>`, and sets
 * the exit code. An error the work throws is a failure of the check.
 *
 * @param {string} step
 * @param {() => Promise<Row[]>} work
 */
export async function report(step, work) {
  const started = performance.now()
  const rows = await work().catch((error) => {
    // A plain Error says what is wrong with the repository; any other is a defect of the script.
    const text = String(error.name === 'Error' ? error.message : error.stack)
    process.stderr.write(`${text}\n`)
    const seconds = (performance.now() - started) / 1000
    return [checkRow(step, 'workspace', 'failed', seconds, [`failed: ${text.split('\n')[0]}`])]
  })
  const file = process.argv.find((argument) => argument.startsWith(option))?.slice(option.length)
  if (file) writeFileSync(file, JSON.stringify(rows))
  process.exitCode = total(rows).failed > 0 ? 1 : 0
}

/**
 * The parameters of the command line that are not the report's.
 *
 * @returns {string[]}
 */
export function parameters() {
  return process.argv.slice(2).filter((argument) => !argument.startsWith(option))
}
