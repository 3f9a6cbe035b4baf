// @ts-check
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { root } from './root.mjs'
import { run } from './run.mjs'

/**
 * @typedef {object} Manifest
 * @property {string} name
 * @property {string} version
 * @property {boolean} [private]
 * @property {Record<string, unknown>} [exports]
 * @property {Record<string, string>} [bin]
 * @property {Record<string, string>} [scripts]
 */

/**
 * @typedef {object} WorkspacePackage
 * @property {string} name such as `@xmc/core`
 * @property {string} folder absolute
 * @property {string} path relative to the root, such as `packages/core`
 * @property {Manifest} manifest
 */

/**
 * The packages of the workspace as pnpm lists them, without the root, sorted by path.
 *
 * @returns {Promise<WorkspacePackage[]>}
 */
export async function listPackages() {
  const listing = await run('pnpm', ['list', '--recursive', '--depth=-1', '--json'], {
    capture: true,
  })
  if (listing.code !== 0) throw new Error(`pnpm could not list the workspace:\n${listing.output}`)
  /** @type {{ path: string }[]} */
  const found = JSON.parse(listing.output)
  return found
    .filter(({ path }) => relative(root, path) !== '')
    .map(({ path }) => {
      const manifest = readManifest(path)
      return { name: manifest.name, folder: path, path: relative(root, path), manifest }
    })
    .toSorted((left, right) => (left.path < right.path ? -1 : 1))
}

/**
 * @param {string} folder
 * @returns {Manifest}
 */
function readManifest(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
}
