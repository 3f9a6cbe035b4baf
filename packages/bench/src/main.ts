import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { Command, Option } from 'commander'
import { reportDuels } from './hostile/report-duels.ts'
import { runDuels } from './hostile/run-duels.ts'
import { plots } from './plot.ts'
import { report } from './report.ts'
import type { Results } from './results.ts'
import { runAll } from './run.ts'

/** Where the pictures and tables of the documentation are. */
const DOCS = fileURLToPath(new URL('../../../docs/benchmarks', import.meta.url))

interface Options {
  readonly json?: true
  readonly quick?: true
  readonly only?: readonly string[]
  readonly from?: string
  readonly plot?: true
  readonly record?: true
  readonly hostile?: true
}

const program = new Command('bench')
  .description('Measures what everything costs, beside the same work with nothing between.')
  .option('--json', 'print one JSON object and nothing else')
  .option('--only <workload...>', 'measure these alone, each with its variants, as W4 or BLK4K')
  .option(
    '--hostile',
    'measure a disk beside one attacker of each kind instead; --only takes the beginnings of their names',
  )
  .option('--quick', 'take seconds instead of minutes; the figures mean little')
  .option('--from <file>', 'take the JSON of an earlier run instead of measuring')
  .addOption(
    new Option('--plot', 'draw how cost grows, as SVG, into docs/benchmarks').conflicts('only'),
  )
  .addOption(
    new Option('--record', 'write JSON, tables and pictures into docs/benchmarks').conflicts(
      'only',
    ),
  )
  .parse()
const options: Options = program.opts()

if (options.hostile === true) await measureHostile()
else await measureCosts()

async function measureCosts(): Promise<void> {
  const results = options.from === undefined ? await measured() : await recorded(options.from)
  if (options.record === true) {
    await mkdir(DOCS, { recursive: true })
    await writeFile(join(DOCS, 'results.json'), `${JSON.stringify(results, undefined, 2)}\n`)
    await writeFile(join(DOCS, 'results.md'), `# Results of a run\n\n${report(results)}`)
  }
  if ((options.plot === true || options.record === true) && results.growth !== undefined) {
    await mkdir(DOCS, { recursive: true })
    for (const [name, svg] of plots(results.growth)) {
      await writeFile(join(DOCS, `${name}.svg`), svg)
    }
  }
  process.stdout.write(options.json === true ? `${JSON.stringify(results)}\n` : report(results))
}

async function measureHostile(): Promise<void> {
  const { quick = false, only } = options
  const results = await runDuels({ quick, only, onProgress: progress })
  if (results.duels.length === 0) {
    program.error(`error: no attack is called ${only?.join(' or ')}`)
  }
  const text = reportDuels(results)
  if (options.record === true) {
    await writeFile(join(DOCS, 'hostile.json'), `${JSON.stringify(results, undefined, 2)}\n`)
    await writeFile(join(DOCS, 'hostile.md'), `# A disk beside an attacker\n\n${text}`)
  }
  process.stdout.write(options.json === true ? `${JSON.stringify(results)}\n` : text)
}

async function measured(): Promise<Results> {
  const found = await runAll({
    quick: options.quick === true,
    only: options.only,
    onProgress: progress,
  })
  if (Object.keys(found.workloads).length === 0) {
    program.error(`error: no workload is called ${options.only?.join(' or ')}`)
  }
  return found
}

function progress(what: string, done: number, total: number): void {
  process.stderr.write(`${`${done + 1}`.padStart(3)}/${total} ${what}\n`)
}

async function recorded(file: string): Promise<Results> {
  // npm changes to the root; a file is named from where the caller stands.
  return JSON.parse(await readFile(resolve(process.env['INIT_CWD'] ?? '.', file), 'utf8'))
}
