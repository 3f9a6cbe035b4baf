// @ts-check
// Runs the tests of every package through turbo and ends with a table of them.
// Parameters go to turbo: `npm test -- --filter=@xmc/core`. With --long, the long tests and every
// property with its large count.
import process from 'node:process'
import { checkRow, parameters, report, table, total } from './lib/report.mjs'
import { readTestResults, removeTestResults } from './lib/test-results.mjs'
import { turbo } from './lib/turbo.mjs'
import { listPackages } from './lib/workspace.mjs'

/** @typedef {import('./lib/report.mjs').Row} Row */

const long = '--long'
const isLong = parameters().includes(long)
const step = isLong ? 'test:long' : 'test'

// Part of what turbo knows a result by: no result of another Node or of the short run stands for this one.
process.env['XMC_NODE'] = process.version
if (isLong) process.env['XMC_LONG'] = '1'
else delete process.env['XMC_LONG']

await report(step, async () => {
  const packages = await listPackages()
  for (const { folder } of packages) removeTestResults(folder)

  const { code, results } = await turbo(
    ['test'],
    parameters().filter((parameter) => parameter !== long),
  )
  const rows = packages.flatMap(({ name, folder }) => {
    const task = results.find((result) => result.package === name)
    const row = task && testRow(name, folder, task)
    // A package may have nothing long.
    return row && (!isLong || row.passed + row.failed + row.skipped > 0) ? [row] : []
  })
  if (code !== 0 && total(rows).failed === 0) {
    rows.push(checkRow(step, 'workspace', 'failed', 0, [`failed: turbo ended with ${code}`]))
  }
  process.stdout.write(`\n${table(rows)}\n`)
  return rows
})

/**
 * @param {string} name
 * @param {string} folder
 * @param {import('./lib/turbo.mjs').TaskResult} task
 * @returns {Row}
 */
function testRow(name, folder, task) {
  const results = readTestResults(folder)
  /** @type {Row} */
  const row = {
    step,
    subject: name,
    passed: 0,
    failed: 0,
    skipped: 0,
    seconds: results?.seconds ?? task.seconds,
    notes: [],
  }
  for (const test of results?.tests ?? []) {
    row[test.state] += 1
    if (test.state === 'failed') row.notes.push(`failed: ${test.name}`)
    if (test.state === 'skipped') {
      row.notes.push(`skipped: ${test.name}: ${test.reason ?? 'no reason given'}`)
    }
  }
  for (const error of results?.errors ?? []) {
    row.failed += 1
    row.notes.push(`failed outside of a test: ${error.split('\n')[0]}`)
  }
  if (task.code !== 0 && row.failed === 0) {
    row.failed += 1
    row.notes.push(`failed: vitest ended with ${task.code}; the reason is in its output above`)
  }
  if (row.failed > 0 && results !== undefined) row.notes.push(`seed: XMC_SEED=${results.seed}`)
  if (!isLong && task.code === 0 && row.passed === 0) {
    row.failed += 1
    row.notes.push('failed: no test passed')
  }
  return row
}
