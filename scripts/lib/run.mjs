// @ts-check
import { spawn } from 'node:child_process'
import { delimiter, join } from 'node:path'
import process from 'node:process'
import { root } from './root.mjs'

/**
 * @typedef {object} Outcome
 * @property {number} code exit code; 1 when a signal ended the command or it could not be started
 * @property {string} output standard output and standard error, empty unless captured
 * @property {number} seconds
 */

/**
 * Runs a command without standard input, with the workspace's tools on PATH.
 *
 * @param {string} command
 * @param {readonly string[]} parameters
 * @param {{ folder?: string, capture?: boolean, timeout?: number, env?: Record<string, string> }} [options]
 *   `folder` defaults to the root; `capture` keeps the output instead of printing it; `timeout` in
 *   milliseconds
 * @returns {Promise<Outcome>}
 */
export function run(command, parameters, options = {}) {
  const started = performance.now()
  return new Promise((resolve) => {
    let output = ''
    /** @param {number} code */
    const finish = (code) =>
      resolve({ code, output, seconds: (performance.now() - started) / 1000 })
    const child = spawn(command, parameters, {
      cwd: options.folder ?? root,
      env: { ...process.env, PATH: toolPath(), ...options.env },
      stdio: ['ignore', options.capture ? 'pipe' : 'inherit', options.capture ? 'pipe' : 'inherit'],
      // A group of its own, so that a command that hangs is ended with all it has started.
      detached: options.timeout !== undefined,
    })
    const timer =
      options.timeout === undefined
        ? undefined
        : setTimeout(() => {
            output += `${command} took longer than ${options.timeout} ms\n`
            if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
          }, options.timeout)
    /** @param {Buffer} chunk */
    const keep = (chunk) => {
      output += chunk.toString()
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    child.on('error', (error) => {
      clearTimeout(timer)
      output += `${command} could not be started: ${error.message}\n`
      if (!options.capture) process.stderr.write(output)
      finish(1)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (signal) output += `${command} was ended by ${signal}\n`
      finish(code ?? 1)
    })
  })
}

/** @returns {string} */
function toolPath() {
  return [join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter)
}
