import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { runCommandLine } from '../src/host/command-line.ts'
import { temporaryFolder } from './helpers/temporary-folder.ts'

async function run(...parameters: readonly string[]) {
  const output = { stdout: '', stderr: '' }
  const stream = (name: keyof typeof output) => ({
    write: (text: string) => {
      output[name] += text
    },
  })
  const code = await runCommandLine(parameters, {
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    // Nothing gets as far as the cache.
    variables: { XMC_CACHE_DIR: '/dev/null' },
    signal: new AbortController().signal,
  })
  return { code, ...output }
}

describe('runCommandLine', () => {
  it('explains itself', async () => {
    const { code, stdout, stderr } = await run('--help')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^Usage: npm run test:xen -- \[options\] \[names...\]\n/)
    expect(stdout).toContain('--run <file>')
    expect(stderr).toBe('')
  })

  it.each([
    [['--unknown'], "rig: unknown option '--unknown'; see --help\n"],
    [
      ['--limit', '0'],
      "rig: option '--limit <seconds>' argument '0' is invalid. seconds are a whole number from 1 to 86400; see --help\n",
    ],
  ])('refuses %j', async (parameters, complaint) => {
    expect(await run(...parameters)).toEqual({ code: 2, stdout: '', stderr: complaint })
  })

  it('says that a program is not there, to people and to machines', async () => {
    const results = join(temporaryFolder(), 'results.json')
    const { code, stdout, stderr } = await run(
      '--run',
      '/absent.mjs',
      '--json',
      '--results',
      results,
    )
    const error = { code: 'ERR_XMC_RIG', message: '/absent.mjs does not exist' }
    expect(code).toBe(1)
    expect(stderr).toBe('rig: /absent.mjs does not exist\n')
    expect(JSON.parse(stdout)).toEqual({ error })
    expect(readFileSync(results, 'utf8')).toBe(stdout)
  })
})
