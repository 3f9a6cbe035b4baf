// @ts-check
// Runs the tests on every Node that is supported but the one that runs this, on which `npm test` runs them.
// Numbers choose among them: `npm run check:nodes -- 24`.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import process from 'node:process'
import { obtainNode, testedNodes } from './lib/nodes.mjs'
import { checkRow, parameters, report } from './lib/report.mjs'
import { root } from './lib/root.mjs'
import { run } from './lib/run.mjs'

/** @typedef {import('./lib/report.mjs').Row} Row */

await report('nodes', async () => {
  const reports = mkdtempSync(join(tmpdir(), 'xmc-nodes-'))
  try {
    /** @type {Row[]} */
    const rows = []
    for (const version of chosen()) {
      if (process.version !== `v${version}`) rows.push(...(await testOn(version, reports)))
    }
    return rows
  } finally {
    rmSync(reports, { recursive: true })
  }
})

/** @returns {readonly string[]} */
function chosen() {
  const numbers = parameters()
  const unknown = numbers.find((number) => !testedNodes.some((version) => is(version, number)))
  if (unknown) throw new Error(`Node ${unknown} is not tested, only ${testedNodes.join(' and ')}`)
  return numbers.length > 0
    ? testedNodes.filter((version) => numbers.some((number) => is(version, number)))
    : testedNodes
}

/**
 * @param {string} version
 * @param {string} number the whole of it, or its start
 */
function is(version, number) {
  return version === number || version.startsWith(`${number}.`)
}

/**
 * @param {string} version
 * @param {string} reports a folder
 * @returns {Promise<Row[]>}
 */
async function testOn(version, reports) {
  const step = `node ${version}`
  const node = await obtainNode(version)
  if ('missing' in node) {
    return [checkRow(step, 'workspace', 'skipped', 0, [`skipped: ${node.missing}`])]
  }
  const file = join(reports, `${version}.json`)
  await run(join(node.folder, 'node'), [join(root, 'scripts/run-tests.mjs'), `--report=${file}`], {
    env: { PATH: [node.folder, process.env['PATH']].join(delimiter) },
  })
  /** @type {Row[]} */
  const rows = JSON.parse(readFileSync(file, 'utf8'))
  return rows.map((row) => ({ ...row, step }))
}
