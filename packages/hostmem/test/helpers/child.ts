import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'

const packageRoot = fileURLToPath(new URL('../..', import.meta.url))

/** How a child process ended, with what it printed on stdout read as JSON. */
export interface ChildResult {
  readonly status: number | null
  readonly stderr: string
  readonly output: unknown
}

/** Options of {@link runChild}. */
export interface ChildOptions {
  readonly nodeArguments?: readonly string[]
  /** Arguments of the program. */
  readonly arguments?: readonly string[]
  /** Soft and hard limit of address space in KiB, as `ulimit -v` takes it. */
  readonly addressSpaceKib?: number | 'unlimited'
}

/** Bundles a TypeScript program with the sources of this package, and runs it in a process of its own. */
export async function runChild(file: URL, options: ChildOptions = {}): Promise<ChildResult> {
  // Inside the package, so that its dependencies are found from there.
  const folder = mkdtempSync(`${packageRoot}/node_modules/.child-`)
  try {
    const program = `${folder}/program.mjs`
    await build({
      input: fileURLToPath(file),
      platform: 'node',
      external: ['koffi'],
      resolve: {
        conditionNames: ['@xmc/source', 'import', 'node', 'default'],
        alias: { '@xmc/hostmem': `${packageRoot}/src/index.ts` },
      },
      output: { file: program, format: 'esm' },
      logLevel: 'warn',
    })
    const { nodeArguments = [], arguments: programArguments = [], addressSpaceKib } = options
    const limit = addressSpaceKib === undefined ? '' : `ulimit -v ${addressSpaceKib}; `
    const command = [process.execPath, ...nodeArguments, program, ...programArguments]
    const { status, stdout, stderr } = spawnSync(
      'sh',
      ['-c', `${limit}exec "$@"`, 'sh', ...command],
      { encoding: 'utf8', timeout: 110_000 },
    )
    const output: unknown = status === 0 ? JSON.parse(stdout) : stdout
    return { status, stderr, output }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
