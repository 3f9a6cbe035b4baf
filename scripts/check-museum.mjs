// @ts-check
// Shows that the tests of the bug museum catch what they are there for: each exhibit puts one old
// bug back into a copy of the repository, and the test it names must fail there.
// Ids choose among the exhibits: `npm run check:museum -- M4 M7`.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { applyPatch } from 'diff'
import { readChanges, readExhibits, testPattern } from './lib/museum.mjs'
import { checkRow, parameters, report } from './lib/report.mjs'
import { run } from './lib/run.mjs'
import { readTestResults, removeTestResults } from './lib/test-results.mjs'
import { listPackages } from './lib/workspace.mjs'
import { copyWorkspace } from './lib/workspace-copy.mjs'

/** @typedef {import('./lib/museum.mjs').Exhibit} Exhibit */
/** @typedef {import('./lib/test-results.mjs').TestResult} TestResult */

await report('museum', async () => {
  const exhibits = chosen(readExhibits())
  const packages = await listPackages()
  const copy = copyWorkspace(packages)
  try {
    const rows = []
    for (const exhibit of exhibits) {
      const started = performance.now()
      const path = packages.find(({ name }) => name === exhibit.package)?.path
      const { caught, text } = path
        ? await visit(exhibit, copy, path).catch((error) => missed(error.message))
        : missed(`names ${exhibit.package}, which is no package of the workspace`)
      const seconds = (performance.now() - started) / 1000
      const state = caught ? 'passed' : 'failed'
      process.stdout.write(`${exhibit.id} ${text}\n`)
      const notes = caught ? [] : [`failed: ${text.split('\n')[0]}`]
      rows.push(checkRow('museum', exhibit.id, state, seconds, notes))
    }
    return rows
  } finally {
    rmSync(copy, { recursive: true })
  }
})

/**
 * @param {Exhibit[]} all
 * @returns {Exhibit[]}
 */
function chosen(all) {
  const ids = parameters()
  const unknown = ids.find((id) => !all.some((exhibit) => exhibit.id === id))
  if (unknown) throw new Error(`museum/museum.json has no exhibit ${unknown}`)
  return ids.length > 0 ? all.filter(({ id }) => ids.includes(id)) : all
}

/**
 * Runs the tests of an exhibit without the bug and with it.
 *
 * @param {Exhibit} exhibit
 * @param {string} copy of the workspace
 * @param {string} path of the package
 * @returns {Promise<{ caught: boolean, text: string }>}
 */
async function visit(exhibit, copy, path) {
  const folder = join(copy, path)
  const healthy = await runTests(exhibit, folder, [])
  if (healthy.tests.length === 0) {
    return missed(`found no test "${exhibit.test}" in ${exhibit.package}\n${healthy.problem}`)
  }
  const broken = healthy.tests.find(({ state }) => state !== 'passed')
  if (broken) {
    return missed(`"${broken.name}" ${broken.state} without the patch\n${healthy.problem}`)
  }

  const files = [...new Set(healthy.tests.map(({ file }) => file))]
  const remove = putBack(readChanges(exhibit), copy)
  const sick = await runTests(exhibit, folder, files).finally(remove)
  // A patched file that does not load leaves no results: that proves nothing about the test.
  if (sick.tests.length !== healthy.tests.length) {
    return missed(
      `ran ${sick.tests.length} of ${healthy.tests.length} tests with the patch\n${sick.problem}`,
    )
  }
  const blind = sick.tests.find(({ state }) => state !== 'failed')
  if (blind) return missed(`not caught: "${blind.name}" ${blind.state} with ${exhibit.patch}`)
  return { caught: true, text: `caught by ${sick.tests.map(({ name }) => `"${name}"`).join(', ')}` }
}

/**
 * @param {string} text
 * @returns {{ caught: boolean, text: string }}
 */
function missed(text) {
  return { caught: false, text: text.trimEnd() }
}

/**
 * @param {Exhibit} exhibit
 * @param {string} folder of the package
 * @param {readonly string[]} files of tests; none means all
 * @returns {Promise<{ tests: TestResult[], problem: string }>} the results of the tests the exhibit
 *   names, and what vitest said
 */
async function runTests(exhibit, folder, files) {
  removeTestResults(folder)
  const pattern = testPattern(exhibit)
  const { output } = await run('vitest', ['run', '--testNamePattern', pattern.source, ...files], {
    folder,
    capture: true,
    // A bug may loop for ever, and a test's own timeout cannot end a loop.
    timeout: 300_000,
    env: { NO_COLOR: '1' },
  })
  const tests = readTestResults(folder)?.tests ?? []
  return { tests: tests.filter(({ name }) => pattern.test(name)), problem: output }
}

/**
 * Puts a bug back into the copy.
 *
 * @param {readonly import('./lib/museum.mjs').Change[]} changes
 * @param {string} copy of the workspace
 * @returns {() => void} takes it out again
 */
function putBack(changes, copy) {
  const files = changes.map(({ path, patch }) => {
    const file = join(copy, path)
    const healthy = readFileSync(file, 'utf8')
    const sick = applyPatch(healthy, patch)
    if (sick === false) throw new Error(`the patch does not fit ${path} any more`)
    return { file, healthy, sick }
  })
  for (const { file, sick } of files) writeFileSync(file, sick)
  return () => {
    for (const { file, healthy } of files) writeFileSync(file, healthy)
  }
}
