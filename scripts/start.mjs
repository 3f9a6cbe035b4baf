// @ts-check
// Sets the workspace up, builds the board, and has a simulated guest read a disk. Parameters go to arm-virt:
// `npm start -- --disk my.img --json` are options of its self-test, `npm start -- mtree` is another command.
// Standard output is arm-virt's alone.
import { join } from 'node:path'
import process from 'node:process'
import { build } from './lib/built.mjs'
import { root } from './lib/root.mjs'

const code = await build('start', ['@xmc/arm-virt'])
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
 * @returns {readonly string[]} with the command, `selftest` where none is named
 */
function commandLine(parameters) {
  const named = /^(?!-)|^(-h|--help|-V|--version)$/.test(parameters[0] ?? '-')
  return named ? parameters : ['selftest', ...parameters]
}
