// @ts-check
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parsePatch } from 'diff'
import { root } from './root.mjs'

/**
 * @typedef {object} Exhibit
 * @property {string} id such as `M4`
 * @property {string} title the bug in one line
 * @property {string} patch file in `museum/` that puts the bug back
 * @property {string} package the package whose test catches it, such as `@xmc/core`
 * @property {string} test how the name of its test, or of a group of tests, starts
 */

/**
 * One file that a patch changes.
 *
 * @typedef {object} Change
 * @property {string} path relative to the root
 * @property {import('diff').StructuredPatch} patch
 */

const folder = join(root, 'museum')
const sources = /^packages\/[^/]+\/src\/.+\.ts$/

/**
 * The exhibits that `museum/museum.json` lists.
 *
 * @returns {Exhibit[]}
 * @throws {Error} when there are none, one is incomplete or a patch belongs to none
 */
export function readExhibits() {
  const catalogue = join(folder, 'museum.json')
  /** @type {Exhibit[]} */
  const exhibits = existsSync(catalogue) ? JSON.parse(readFileSync(catalogue, 'utf8')) : []
  if (exhibits.length === 0) {
    throw new Error('museum/museum.json lists no exhibit; museum/README.md says how to add one')
  }
  const seen = new Set()
  for (const exhibit of exhibits) {
    for (const field of /** @type {const} */ (['id', 'title', 'patch', 'package', 'test'])) {
      if (typeof exhibit[field] !== 'string' || exhibit[field] === '') {
        throw new Error(`museum/museum.json: ${exhibit.id ?? 'an exhibit'} has no "${field}"`)
      }
    }
    if (seen.has(exhibit.id)) throw new Error(`museum/museum.json lists ${exhibit.id} twice`)
    if (exhibit.test.split(' ')[0] !== exhibit.id) {
      throw new Error(`museum/museum.json: the test of ${exhibit.id} must start with its id`)
    }
    seen.add(exhibit.id)
  }
  const listed = new Set(exhibits.map(({ patch }) => patch))
  const stray = readdirSync(folder).find((file) => file.endsWith('.patch') && !listed.has(file))
  if (stray) throw new Error(`museum/${stray} belongs to no exhibit in museum/museum.json`)
  return exhibits
}

/**
 * @param {Exhibit} exhibit
 * @returns {Change[]}
 * @throws {Error} when the patch is empty or touches more than the sources of packages
 */
export function readChanges({ patch }) {
  const changes = parsePatch(readFileSync(join(folder, patch), 'utf8')).map((change) => ({
    path: (change.newFileName ?? '').replace(/^b\//, ''),
    patch: change,
  }))
  if (changes.every(({ patch: { hunks } }) => hunks.length === 0)) {
    throw new Error(`museum/${patch} changes nothing`)
  }
  for (const { path, patch: change } of changes) {
    if (!sources.test(path) || change.oldFileName?.replace(/^a\//, '') !== path) {
      throw new Error(`museum/${patch} may only change files in packages/*/src, not ${path}`)
    }
  }
  return changes
}

/**
 * What the full names of an exhibit's tests match: whole words, so that `M1` does not find `M13`.
 *
 * @param {Exhibit} exhibit
 * @returns {RegExp}
 */
export function testPattern({ test }) {
  return new RegExp(`(^| )${test.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&')}(?!\\w)`)
}
