// @ts-check
// Boots Xen under an emulator and runs the suites of the real providers in its dom0. Parameters go to the
// rig: `npm run test:xen -- --help`.
import { join } from 'node:path'
import process from 'node:process'
import { build } from './lib/built.mjs'
import { root } from './lib/root.mjs'

const code = await build('test:xen', ['@xmc/rig'])
if (code === 0) {
  // npm changes to the root; files are named from where the caller stands.
  process.chdir(process.env['INIT_CWD'] ?? process.cwd())
  // In this process, so that a signal reaches it once, and its exit code is the exit code.
  await import(join(root, 'rig/dist/host/main.js'))
} else {
  process.exitCode = code
}
