// @ts-check
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import process from 'node:process'

/**
 * What `test-results.json` in a package holds after a run of its tests.
 *
 * @typedef {object} TestResults
 * @property {number} seconds
 * @property {string} seed of the properties
 * @property {TestResult[]} tests
 * @property {string[]} errors failures outside of any test: a file that does not load, a hook, an
 *   unhandled rejection, a dead worker
 */

/**
 * @typedef {object} TestResult
 * @property {string} name the names of its groups and its own, joined by spaces, as `vitest -t`
 *   matches it
 * @property {'passed' | 'failed' | 'skipped'} state
 * @property {string} file relative to the folder of the package
 * @property {string} [reason] why it was skipped
 */

/** @typedef {import('vitest/node').Reporter} Reporter */

/** Written by the reporter below, ignored by git, kept and restored by turbo. */
const fileName = 'test-results.json'

/**
 * @param {string} folder of the package
 * @returns {TestResults | undefined} undefined when vitest ended before it could report
 */
export function readTestResults(folder) {
  const file = join(folder, fileName)
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined
}

/** @param {string} folder of the package */
export function removeTestResults(folder) {
  rmSync(join(folder, fileName), { force: true })
}

/**
 * Keeps the results of a run for the scripts that count them. vitest's own JSON reporter leaves out
 * the reasons of skips and the errors outside of tests.
 *
 * @implements {Reporter}
 */
export class TestResultsReporter {
  #folder = ''
  #started = 0

  /** @param {import('vitest/node').Vitest} vitest */
  onInit(vitest) {
    this.#folder = vitest.config.root
    this.#started = performance.now()
    removeTestResults(this.#folder)
    vitest.logger.log(`Node ${process.version}, properties: XMC_SEED=${seed()}`)
  }

  /**
   * @param {readonly import('vitest/node').TestModule[]} modules
   * @param {readonly { message: string }[]} unhandled
   */
  onTestRunEnd(modules, unhandled) {
    const suites = modules.flatMap((module) => [module, ...module.children.allSuites()])
    /** @type {TestResults} */
    const results = {
      seconds: (performance.now() - this.#started) / 1000,
      seed: seed(),
      tests: modules.flatMap((module) =>
        [...module.children.allTests()].map((test) => describe(test, this.#folder)),
      ),
      errors: [...suites.flatMap((suite) => suite.errors()), ...unhandled].map(
        ({ message }) => message,
      ),
    }
    writeFileSync(join(this.#folder, fileName), JSON.stringify(results))
  }
}

/** @returns {string} what vitest.shared.ts has set */
function seed() {
  return process.env['XMC_SEED'] ?? 'none'
}

/**
 * @param {import('vitest/node').TestCase} test
 * @param {string} folder of the package
 * @returns {TestResult}
 */
function describe(test, folder) {
  const result = test.result()
  const file = relative(folder, test.module.moduleId)
  const name = fullName(test)
  if (result.state === 'skipped') {
    return { name, file, state: 'skipped', ...(result.note && { reason: result.note }) }
  }
  // A test that is still pending at the end never finished.
  return { name, file, state: result.state === 'passed' ? 'passed' : 'failed' }
}

/**
 * @param {import('vitest/node').TestCase} test
 * @returns {string}
 */
function fullName(test) {
  const names = [test.name]
  for (let parent = test.parent; parent.type === 'suite'; parent = parent.parent) {
    names.unshift(parent.name)
  }
  return names.join(' ')
}
