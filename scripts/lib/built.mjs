// @ts-check
// Only what Node itself has is imported: nothing may be installed yet.
import { spawn } from 'node:child_process'
import { delimiter, join } from 'node:path'
import process from 'node:process'
import { root } from './root.mjs'

/**
 * Sets the workspace up if needed and builds packages, with the output of both on standard error.
 *
 * @param {string} name of the command, for messages
 * @param {readonly string[]} packages
 * @returns {Promise<number>} the exit code, 0 when everything is built
 */
export async function build(name, packages) {
  const steps = [
    [process.execPath, join(root, 'scripts/setup.mjs'), '--if-needed'],
    [
      'turbo',
      'run',
      'build',
      ...packages.map((wanted) => `--filter=${wanted}`),
      '--output-logs=errors-only',
    ],
  ]
  for (const [command = '', ...parameters] of steps) {
    const code = await run(name, command, parameters)
    if (code !== 0) return code
  }
  return 0
}

/**
 * @param {string} name
 * @param {string} command
 * @param {readonly string[]} parameters
 * @returns {Promise<number>} the exit code
 */
function run(name, command, parameters) {
  return new Promise((resolve) => {
    const path = [join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter)
    const child = spawn(command, parameters, {
      cwd: root,
      env: { ...process.env, PATH: path, TURBO_TELEMETRY_DISABLED: '1' },
      stdio: ['ignore', process.stderr, process.stderr],
    })
    child.on('error', (error) => {
      process.stderr.write(`${name}: ${command} could not be started: ${error.message}\n`)
      resolve(1)
    })
    child.on('close', (status, signal) => {
      if (signal) process.stderr.write(`${name}: ${command} was ended by ${signal}\n`)
      resolve(status ?? 1)
    })
  })
}
