import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'

const packageRoot = fileURLToPath(new URL('../..', import.meta.url))

/** How a child process ended, with what it printed on stdout read as JSON if it ended well. */
export interface ChildResult {
  readonly status: number | null
  readonly signal: string | null
  readonly stderr: string
  readonly output: unknown
}

/** Bundles a TypeScript program with the sources of the packages, and runs it in a process of its own. */
export async function runChild(file: URL): Promise<ChildResult> {
  // Inside the package, so that its dependencies are found from there.
  const folder = mkdtempSync(`${packageRoot}/node_modules/.child-`)
  try {
    const program = `${folder}/program.mjs`
    await build({
      input: fileURLToPath(file),
      platform: 'node',
      external: ['koffi'],
      resolve: { conditionNames: ['@xmc/source', 'import', 'node', 'default'] },
      transform: { target: 'node20' },
      output: { file: program, format: 'esm' },
      logLevel: 'warn',
    })
    const { status, signal, stdout, stderr } = spawnSync(
      'sh',
      // A process that is expected to be ended leaves no image of its memory behind.
      ['-c', 'ulimit -c 0; exec "$@"', 'sh', process.execPath, program],
      {
        encoding: 'utf8',
        timeout: 110_000,
        // The native library is a dependency of hostmem alone.
        env: { ...process.env, NODE_PATH: `${packageRoot}/../hostmem/node_modules` },
      },
    )
    const output: unknown = status === 0 ? JSON.parse(stdout) : stdout
    return { status, signal, stderr, output }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
