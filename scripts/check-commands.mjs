// @ts-check
// Runs each command that a document names and that takes less than a minute, and says which it leaves out and
// why. A command that is not listed here fails, and so does one that no document names any more. Parameters choose
// among the commands: `npm run check:commands -- "npm start"`.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import process from 'node:process'
import { readDocumentedCommands } from './lib/documented-commands.mjs'
import { checkRow, parameters, report } from './lib/report.mjs'
import { root } from './lib/root.mjs'
import { run } from './lib/run.mjs'

/** @typedef {import('./lib/report.mjs').Row} Row */

/**
 * What becomes of the commands of one kind.
 *
 * @typedef {object} Decision
 * @property {readonly (string | RegExp)[]} commands
 * @property {string} [leftOut] why it is not run; without it, it is
 * @property {string} [folder] where it is run, relative to the root; by itself a folder with the files that
 *   commands name
 * @property {string} [as] what is run in its place
 */

/** Much more than a minute: a machine may be slow and busy. */
const limitMilliseconds = 15 * 60_000

/** @type {readonly Decision[]} */
const decisions = [
  {
    commands: [
      'npm test',
      'npm run test:long',
      'npm run build',
      'npm run typecheck',
      'npm run lint',
      'npm run check:unused',
      'npm run check:changesets',
      'npm run check:packed',
      'npm run check:museum',
      'npm run check:nodes',
      'npm run check:commands',
      'npm run check:xen',
      'npm run check:guest',
      'npm run test:xen',
      'npm run test:xen:guest',
    ],
    leftOut: 'a step of npm run check',
  },
  { commands: ['npm run check'], leftOut: 'it runs this' },
  {
    commands: [
      'npm start',
      /^npm start -- --disk \S+$/,
      'npm run setup',
      'npm test -- --filter=@xmc/core',
      'npm run coverage',
      'npm run check:museum -- M4',
      'npm run bench -- --only W1 BLK4K',
      'npm run test:xen -- --help',
    ],
  },
  {
    commands: [/^npm run (--silent )?bench( -- --(json|quick|record|hostile))?$/],
    leftOut: 'it measures for minutes',
  },
  {
    commands: ['npm run format'],
    leftOut: 'it changes files; check:format is a step of npm run check',
  },
  { commands: ['npm run changeset'], leftOut: 'it asks questions' },
  { commands: ['npm run version-packages', 'npm run release'], leftOut: 'it makes a release' },
  {
    commands: ['npm run contract-results', /^npm run test:xen -- /],
    leftOut: 'it needs minutes in an emulated Xen; suites of it are steps of npm run check',
  },
  {
    commands: ['npm install', 'npm pack', /^npm install @xmc\//],
    leftOut: 'check:packed, a step of npm run check, packs and installs the packages',
  },
  {
    commands: ['npx tsx example.ts', 'node example.ts'],
    leftOut: 'packages/integration/test/readme.test.ts runs the example, without fetching tsx',
  },
  { commands: ['npx pnpm install'], folder: '.' },
  { commands: ['npx vitest', 'XMC_SEED=1234 npx vitest run'], folder: 'packages/foreign' },
  {
    commands: ['XMC_LONG=1 npx vitest run test/<module>.long.test.ts'],
    folder: 'packages/core',
    as: 'XMC_LONG=1 npx vitest run test/lock-records.property.test.ts',
  },
  { commands: ["npx vitest run -t 'S24 '"], folder: 'packages/integration' },
  {
    commands: ['node --print-opt-code --print-opt-code-filter=run packages/bench/dist/solo.js W1'],
    folder: '.',
  },
  {
    commands: [
      /^(npx )?arm-virt selftest( --disk disk.img)?$/,
      'arm-virt --version',
      /^arm-virt mtree\b/,
    ],
  },
  { commands: [/^arm-virt (doctor|serve)/, /^xl /], leftOut: 'it needs Xen' },
]

await report('commands', async () => {
  const wanted = parameters()
  const folder = mkdtempSync(join(tmpdir(), 'xmc-commands-'))
  try {
    for (const name of ['my.img', 'disk.img']) {
      writeFileSync(join(folder, name), new Uint8Array(2 ** 20).fill(0x5a))
    }
    const documented = readDocumentedCommands()
    /** @type {Row[]} */
    const rows = []
    /** @type {Map<string, string[]>} */
    const leftOut = new Map()
    for (const [command, documents] of documented) {
      const decision = decisions.find(({ commands }) => commands.some((one) => fits(one, command)))
      if (decision?.leftOut !== undefined) {
        leftOut.set(decision.leftOut, [...(leftOut.get(decision.leftOut) ?? []), command])
      } else if (wanted.length === 0 || wanted.includes(command)) {
        rows.push(
          decision === undefined
            ? failure(
                command,
                `${documents.join(', ')} names it, and scripts/check-commands.mjs does not`,
              )
            : await tryOut(command, decision, folder),
        )
      }
    }
    for (const stale of decisions.flatMap(({ commands }) => commands)) {
      if ([...documented.keys()].some((command) => fits(stale, command))) continue
      rows.push(failure(String(stale), 'no document names it'))
    }
    for (const [reason, commands] of leftOut) {
      process.stdout.write(`left out: ${commands.join('; ')}: ${reason}\n`)
    }
    return rows
  } finally {
    rmSync(folder, { recursive: true })
  }
})

/**
 * @param {string | RegExp} listed
 * @param {string} command
 */
function fits(listed, command) {
  return typeof listed === 'string' ? listed === command : listed.test(command)
}

/**
 * @param {string} command
 * @param {string} reason
 * @returns {Row}
 */
function failure(command, reason) {
  process.stdout.write(`${command}: failed: ${reason}\n`)
  return checkRow('commands', command, 'failed', 0, [`failed: ${reason}`])
}

/**
 * @param {string} command
 * @param {Decision} decision
 * @param {string} files the folder with the files that commands name
 * @returns {Promise<Row>}
 */
async function tryOut(command, { as = command, folder }, files) {
  // npm takes the folder of the repository, and its scripts the files of where the caller stands.
  const line = as.replace(/^npm /, `npm --prefix '${root}' `).replace(/^npx arm-virt\b/, 'arm-virt')
  const { code, output, seconds } = await run('sh', ['-c', line], {
    folder: folder === undefined ? files : join(root, folder),
    capture: true,
    timeout: limitMilliseconds,
    env: {
      CI: 'true',
      NO_COLOR: '1',
      PATH: [
        join(root, 'node_modules/.bin'),
        join(root, 'packages/bench/node_modules/.bin'),
        process.env['PATH'],
      ].join(delimiter),
    },
  })
  if (code !== 0) process.stdout.write(output)
  process.stdout.write(`${command}: ${code === 0 ? 'passed' : `failed: exit code ${code}`}\n`)
  return code === 0
    ? checkRow('commands', command, 'passed', seconds)
    : checkRow('commands', command, 'failed', seconds, [`failed: exit code ${code}, see above`])
}
