// @ts-check
// Shows that the tests of the bug museum catch what they are there for: each exhibit puts one old
// bug back into a copy of the repository, and the test it names must fail there. Without a bug, the
// tests of all exhibits of a package run at once, and must pass.
// Ids choose among the exhibits: `npm run check:museum -- M4 M7`.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
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

/**
 * @typedef {object} TestRun
 * @property {TestResult[]} tests
 * @property {string} problem what vitest said
 */

await report('museum', async () => {
  const exhibits = chosen(readExhibits())
  const packages = await listPackages()
  /** @type {string[]} */
  const copies = []
  try {
    while (copies.length < Math.min(availableParallelism(), exhibits.length)) {
      copies.push(copyWorkspace(packages))
    }
    const places = exhibits.map((exhibit) => ({
      exhibit,
      path: packages.find(({ name }) => name === exhibit.package)?.path,
    }))
    const paths = [...new Set(places.flatMap(({ path }) => path ?? []))]
    /** @type {Map<string, TestRun>} */
    const healthy = new Map()
    await share(paths, copies, async (path, copy) => {
      const shown = places.filter((place) => place.path === path).map(({ exhibit }) => exhibit)
      healthy.set(path, await runTests(shown, join(copy, path), []))
    })

    return await share(places, copies, async ({ exhibit, path }, copy) => {
      const started = performance.now()
      const without = path === undefined ? undefined : healthy.get(path)
      const { caught, text } =
        path !== undefined && without !== undefined
          ? await visit(exhibit, copy, path, without).catch((error) => missed(error.message))
          : missed(`names ${exhibit.package}, which is no package of the workspace`)
      const seconds = (performance.now() - started) / 1000
      const state = caught ? 'passed' : 'failed'
      process.stdout.write(`${exhibit.id} ${text}\n`)
      const notes = caught ? [] : [`failed: ${text.split('\n')[0]}`]
      return checkRow('museum', exhibit.id, state, seconds, notes)
    })
  } finally {
    for (const copy of copies) rmSync(copy, { recursive: true })
  }
})

/**
 * Does a piece of work for every item, as many at a time as there are copies, each in a copy that nobody
 * else uses meanwhile.
 *
 * @template Item, Result
 * @param {readonly Item[]} items
 * @param {readonly string[]} copies of the workspace
 * @param {(item: Item, copy: string) => Promise<Result>} work
 * @returns {Promise<Result[]>} in the order of the items
 */
async function share(items, copies, work) {
  /** @type {Result[]} */
  const results = []
  const queue = items.entries()
  await Promise.all(
    copies.map(async (copy) => {
      for (const [nth, item] of queue) results[nth] = await work(item, copy)
    }),
  )
  return results
}

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
 * Runs the tests of an exhibit with the bug, and compares with how they ended without it.
 *
 * @param {Exhibit} exhibit
 * @param {string} copy of the workspace
 * @param {string} path of the package
 * @param {TestRun} without the tests of the package's exhibits, run without any bug
 * @returns {Promise<{ caught: boolean, text: string }>}
 */
async function visit(exhibit, copy, path, without) {
  const pattern = testPattern(exhibit)
  const healthy = without.tests.filter(({ name }) => pattern.test(name))
  if (healthy.length === 0) {
    return missed(`found no test "${exhibit.test}" in ${exhibit.package}\n${without.problem}`)
  }
  const broken = healthy.find(({ state }) => state !== 'passed')
  if (broken) {
    return missed(`"${broken.name}" ${broken.state} without the patch\n${without.problem}`)
  }

  const files = [...new Set(healthy.map(({ file }) => file))]
  const remove = putBack(readChanges(exhibit), copy)
  const sick = await runTests([exhibit], join(copy, path), files).finally(remove)
  // A patched file that does not load leaves no results: that proves nothing about the test.
  if (sick.tests.length !== healthy.length) {
    return missed(
      `ran ${sick.tests.length} of ${healthy.length} tests with the patch\n${sick.problem}`,
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
 * @param {readonly Exhibit[]} exhibits
 * @param {string} folder of the package
 * @param {readonly string[]} files of tests, relative to the folder; none means all
 * @returns {Promise<TestRun>} the results of the tests the exhibits name
 */
async function runTests(exhibits, folder, files) {
  removeTestResults(folder)
  const paths = files.map((file) => join(folder, file))
  const pattern = new RegExp(exhibits.map((exhibit) => testPattern(exhibit).source).join('|'))
  const { output } = await run('vitest', ['run', '--testNamePattern', pattern.source, ...paths], {
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
