// @ts-check
// Sets the workspace up, builds the board, and serves a disk to a guest: the main job. Parameters go to
// arm-virt: `npm start -- serve --disk my.img`. Standard output is arm-virt's alone.
import { spawn } from 'node:child_process'
import { delimiter, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
// Only what Node itself has is imported: nothing is installed yet.
const steps = [
  [process.execPath, join(root, 'scripts/setup.mjs'), '--if-needed'],
  ['turbo', 'run', 'build', '--filter=@xmc/arm-virt', '--output-logs=errors-only'],
]

/** @type {number} */
let code = 0
for (const [command = '', ...parameters] of steps) {
  if (code === 0) code = await run(command, parameters)
}
if (code === 0) {
  process.argv = [process.argv0, 'arm-virt', ...commandLine(process.argv.slice(2))]
  // npm changes to the root; a disk is named from where the caller stands.
  process.chdir(process.env['INIT_CWD'] ?? process.cwd())
  // In this process, so that a signal reaches it once, and its exit code is the exit code.
  await import(join(root, 'apps/arm-virt/dist/main.js'))
} else {
  process.exitCode = code
}

/**
 * @param {readonly string[]} parameters
 * @returns {readonly string[]} with the command, `serve` where none is named
 */
function commandLine(parameters) {
  const named = /^(?!-)|^(-h|--help|-V|--version)$/.test(parameters[0] ?? '-')
  return named ? parameters : ['serve', ...parameters]
}

/**
 * Runs a step with its output on standard error.
 *
 * @param {string} command
 * @param {readonly string[]} parameters
 * @returns {Promise<number>} the exit code
 */
function run(command, parameters) {
  return new Promise((resolve) => {
    const path = [join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter)
    const child = spawn(command, parameters, {
      cwd: root,
      env: { ...process.env, PATH: path, TURBO_TELEMETRY_DISABLED: '1' },
      stdio: ['ignore', process.stderr, process.stderr],
    })
    child.on('error', (error) => {
      process.stderr.write(`start: ${command} could not be started: ${error.message}\n`)
      resolve(1)
    })
    child.on('close', (status, signal) => {
      if (signal) process.stderr.write(`start: ${command} was ended by ${signal}\n`)
      resolve(status ?? 1)
    })
  })
}
