// @ts-check
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { run } from './run.mjs'

/** The newest release of each Node on which the tests must pass. README.md names their first numbers. */
export const testedNodes = ['20.20.2', '22.23.3', '24.21.0']

/**
 * A Node of its own from the package `node-linux-<architecture>`, kept in `XMC_CACHE_DIR`, by default
 * `~/.cache/xmc`.
 *
 * @param {string} version
 * @returns {Promise<{ folder: string } | { missing: string }>} the folder of its program `node`, or why
 *   it cannot be had here
 */
export async function obtainNode(version) {
  const name = `node-${process.platform}-${process.arch}`
  const cache = join(cacheFolder(), 'nodes', `${version}-${process.arch}`)
  const folder = join(cache, 'node_modules', name, 'bin')
  if (!existsSync(join(folder, 'node'))) {
    const { code, output } = await run(
      'npm',
      [
        'install',
        `--prefix=${cache}`,
        '--no-save',
        '--no-package-lock',
        '--ignore-scripts',
        '--no-audit',
        '--no-fund',
        '--prefer-offline',
        `${name}@${version}`,
      ],
      { capture: true },
    )
    if (code !== 0) {
      const error = output.split('\n').find((line) => line.startsWith('npm error')) ?? output
      return { missing: `${name}@${version} could not be installed: ${error.trim()}` }
    }
  }
  const { code, output } = await run(join(folder, 'node'), ['--version'], { capture: true })
  return code === 0 && output.trim() === `v${version}`
    ? { folder }
    : { missing: `${name}@${version} does not run on this machine: ${output.trim()}` }
}

/** @returns {string} where the rig keeps what it downloads, too */
function cacheFolder() {
  const { XMC_CACHE_DIR, XDG_CACHE_HOME } = process.env
  return XMC_CACHE_DIR || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'xmc')
}
