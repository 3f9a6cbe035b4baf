import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import * as sim from '../src/index.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

test('the README names every export', () => {
  const unnamed = Object.keys(sim).filter((name) => !readme.includes(`\`${name}`))
  expect(unnamed).toEqual([])
})

test('the example of the README runs', async () => {
  const [, example = ''] = /```ts\n(.*?)```/s.exec(readme) ?? []
  const folder = mkdtempSync(new URL('../node_modules/.example-', import.meta.url).pathname)
  try {
    const program = `${folder}/example.ts`
    const source = example.replace("'@xmc/sim'", "'../../src/index.ts'")
    writeFileSync(program, `${source}\nexport const state = guest.state\n`)
    // Its own assertions throw when they fail.
    const ran: unknown = await import(pathToFileURL(program).href)
    expect(ran).toMatchObject({ state: 'running' })
  } finally {
    rmSync(folder, { recursive: true })
  }
})
