// @ts-check
// Writes packages/contract/RESULTS.md: every case of the contracts, run against the simulator here and against
// real Xen by the rig, side by side.
//
//   npm run test:xen -- --results=results.json && npm run contract-results -- results.json
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { build } from './lib/built.mjs'
import { root } from './lib/root.mjs'
import { run } from './lib/run.mjs'

/**
 * @typedef {{ suite: string, id: string, title: string, outcome: string, detail?: string }} CaseResult
 * @typedef {{ title: string, contract: string, provider: string, xen: Record<string, string> }} Comparison
 */

/** @type {Comparison[]} */
const comparisons = [
  {
    title: 'Grant tables',
    contract: 'grantTableContract',
    provider: 'simulatedGrantTable',
    xen: { 'Xen, grants of dom0': 'grants-of-dom0', 'Xen, grants of a guest': 'grants-of-guest' },
  },
  {
    title: 'Foreign memory',
    contract: 'foreignMemoryContract',
    provider: 'simulatedForeignMemory',
    xen: { Xen: 'foreign-memory' },
  },
  {
    title: 'Event channels',
    contract: 'eventChannelsContract',
    provider: 'simulatedEventChannels',
    xen: { Xen: 'event-channels' },
  },
  {
    title: 'A cache over grants',
    contract: 'grantCacheContract',
    provider: 'simulatedGrantTable',
    xen: {
      'Xen, grants of dom0': 'cache-of-dom0-grants',
      'Xen, grants of a guest': 'cache-of-guest-grants',
    },
  },
  {
    title: 'A cache over foreign memory',
    contract: 'foreignCacheContract',
    provider: 'simulatedForeignMemory',
    xen: { Xen: 'cache-of-foreign-memory' },
  },
]

/** Suites that have no counterpart: what only a real machine can show. */
const onlyOnXen = {
  'The same random steps on both, compared': 'differential',
  Failures: 'failures',
  Crashes: 'crashes',
  Cycles: 'growth',
}

const HEAD = `# Every case, on the simulator and on Xen

Written by \`npm run contract-results\` from a run of \`npm run test:xen\` ([rig](../../rig): Debian's Xen and Linux on emulated arm64)
and one of the same cases on the simulator. A case does not apply where a provider lacks what it needs; the reason is below each table.`

const [file] = process.argv.slice(2)
if (file === undefined) {
  process.stderr.write('usage: npm run contract-results -- <results of npm run test:xen>\n')
  process.exitCode = 2
} else {
  const code = await build('contract-results', ['@xmc/contract'])
  if (code === 0) await write(resolve(process.env['INIT_CWD'] ?? process.cwd(), file))
  else process.exitCode = code
}

/** @param {string} path */
async function write(path) {
  /** @type {{ cases?: CaseResult[] }} */
  const { cases = [] } = JSON.parse(readFileSync(path, 'utf8'))
  if (cases.length === 0) throw new Error(`${path} has no cases: did the run fail?`)
  const sections = []
  for (const comparison of comparisons) sections.push(await section(comparison, cases))
  for (const [title, suite] of Object.entries(onlyOnXen)) {
    const own = cases.filter((each) => each.suite === suite)
    sections.push(
      table(
        title,
        ['Xen'],
        own.map((each) => [each, [each]]),
      ),
    )
  }
  const target = join(root, 'packages/contract/RESULTS.md')
  writeFileSync(target, `${[HEAD, ...sections].join('\n\n')}\n`)
  await run('biome', ['format', '--write', target])
}

/**
 * @param {Comparison} comparison
 * @param {readonly CaseResult[]} cases
 * @returns {Promise<string>}
 */
async function section({ title, contract, provider, xen }, cases) {
  const { runContract, ...contracts } = await import(join(root, 'packages/contract/dist/index.js'))
  const providers = await import(join(root, 'packages/contract/dist/simulator/index.js'))
  const rows = []
  for await (const simulated of runContract(contracts[contract], providers[provider])) {
    const { outcome, reason } = simulated
    const here = outcome === 'not-applicable' ? { outcome: 'skipped', detail: reason } : simulated
    const there = Object.values(xen).map((suite) =>
      cases.find((each) => each.suite === suite && each.id === simulated.id),
    )
    rows.push([simulated, [here, ...there]])
  }
  return table(title, ['simulator', ...Object.keys(xen)], rows)
}

/**
 * @param {string} title
 * @param {readonly string[]} columns
 * @param {any[]} rows
 * @returns {string}
 */
function table(title, columns, rows) {
  /** @type {Set<string>} */
  const reasons = new Set()
  const lines = rows.map(([{ id, title: promise }, results]) => {
    const cells = results.map((/** @type {CaseResult | undefined} */ result) => {
      if (result === undefined) return 'not run'
      if (result.outcome !== 'skipped') return result.outcome
      if (result.detail !== undefined) reasons.add(result.detail)
      return 'does not apply'
    })
    return `| ${[id, promise, ...cells].join(' | ')} |`
  })
  return [
    `## ${title}\n`,
    `| case | promise | ${columns.join(' | ')} |`,
    `| --- | --- | ${columns.map(() => '---').join(' | ')} |`,
    ...lines,
    ...[...reasons].map((reason) => `\n- ${reason}`),
  ].join('\n')
}
