// @ts-check
import { cpSync, existsSync, mkdtempSync, readdirSync, realpathSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative, sep } from 'node:path'
import { root } from './root.mjs'

/** What is made and not written. */
const made = /^(\.git|\.turbo|\.vite.*|\.bin|coverage|dist|test-results\.json|.+\.tsbuildinfo)$/

/**
 * Copies the workspace into a new temporary folder in which tests can run at once. The links
 * between packages lead to the copy; libraries and tools are those of the original.
 *
 * @param {readonly import('./workspace.mjs').WorkspacePackage[]} packages
 * @returns {string} the folder, which the caller removes
 */
export function copyWorkspace(packages) {
  // The real path, since vitest reports real paths.
  const copy = realpathSync(mkdtempSync(join(tmpdir(), 'xmc-copy-')))
  const libraries = join(root, 'node_modules')
  cpSync(root, copy, {
    recursive: true,
    // pnpm's links are relative: taken over as they are, they lead to the copy.
    verbatimSymlinks: true,
    filter: (source) => source !== libraries && !made.test(basename(source)),
  })
  symlinkSync(libraries, join(copy, 'node_modules'))
  for (const { path } of packages) expectOwnLinks(copy, join(copy, path, 'node_modules'))
  return copy
}

/**
 * @param {string} copy
 * @param {string} folder `node_modules` of a package, or a scope in it
 */
function expectOwnLinks(copy, folder) {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder)) {
    const path = join(folder, entry)
    if (entry.startsWith('@')) expectOwnLinks(copy, path)
    else if (realpathSync(path).startsWith(join(root, 'packages') + sep)) {
      throw new Error(`${relative(copy, path)} in ${dirname(copy)} still leads to the original`)
    }
  }
}
