// @ts-check
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './root.mjs'
import { run } from './run.mjs'

/**
 * @typedef {object} TaskResult
 * @property {string} package `//` is the root
 * @property {string} task
 * @property {number} code exit code
 * @property {number} seconds
 */

const summaries = join(root, '.turbo/runs')

/**
 * Runs tasks through turbo in every package that has them, to the end even when some fail.
 *
 * @param {readonly string[]} tasks
 * @param {readonly string[]} [parameters] more parameters for turbo
 * @returns {Promise<{ code: number, results: TaskResult[] }>} results of the named tasks only; none for
 *   a task that did not run, since one it needs failed
 */
export async function turbo(tasks, parameters = []) {
  const before = new Set(listSummaries())
  const { code } = await run('turbo', [
    'run',
    ...tasks,
    '--continue=dependencies-successful',
    '--log-order=grouped',
    '--summarize',
    ...parameters,
  ])
  const results = listSummaries()
    .filter((file) => !before.has(file))
    .flatMap((file) => readSummary(join(summaries, file)))
    .filter(({ task }) => tasks.includes(task))
  return { code, results }
}

/** @returns {string[]} */
function listSummaries() {
  return existsSync(summaries) ? readdirSync(summaries) : []
}

/**
 * @param {string} file removed after it was read
 * @returns {TaskResult[]}
 */
function readSummary(file) {
  /** @type {{ tasks: { package: string, task: string, execution?: { startTime: number, endTime: number, exitCode?: number } }[] }} */
  const summary = JSON.parse(readFileSync(file, 'utf8'))
  rmSync(file)
  return summary.tasks.flatMap(({ package: name, task, execution }) =>
    execution?.exitCode === undefined
      ? []
      : [
          {
            package: name,
            task,
            code: execution.exitCode,
            seconds: (execution.endTime - execution.startTime) / 1000,
          },
        ],
  )
}
