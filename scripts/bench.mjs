// @ts-check
// Builds everything and measures what it costs. Parameters go to the benchmarks: `npm run bench -- --help`.
// Standard output is theirs alone.
import { join } from 'node:path'
import process from 'node:process'
import { build } from './lib/built.mjs'
import { root } from './lib/root.mjs'

const code = await build('bench', ['@xmc/bench'])
if (code === 0) await import(join(root, 'packages/bench/dist/main.js'))
else process.exitCode = code
