// @ts-check
// Runs the tests of every package through turbo and ends with a table of them.
// Parameters go to turbo: `npm test -- --filter=@xmc/core`.
import process from 'node:process'
import { checkRow, parameters, report, table, total } from './lib/report.mjs'
import { readTestResults, removeTestResults } from './lib/test-results.mjs'
import { turbo } from './lib/turbo.mjs'
import { listPackages } from './lib/workspace.mjs'

/** @typedef {import('./lib/report.mjs').Row} Row */

await report('test', async () => {
  const packages = await listPackages()
  for (const { folder } of packages) removeTestResults(folder)

  const { code, results } = await turbo(['test'], parameters())
  const rows = packages.flatMap(({ name, folder }) => {
    const task = results.find((result) => result.package === name)
    return task ? [testRow(name, folder, task)] : []
  })
  if (code !== 0 && total(rows).failed === 0) {
    rows.push(checkRow('test', 'workspace', 'failed', 0, [`failed: turbo ended with ${code}`]))
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
    step: 'test',
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
  if (task.code === 0 && row.passed === 0) {
    row.failed += 1
    row.notes.push('failed: no test passed')
  }
  return row
}
