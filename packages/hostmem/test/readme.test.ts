import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import * as hostmem from '../src/index.ts'
import { runChild } from './helpers/child.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

it('the example of the README runs', async () => {
  const [, example = ''] = /```ts\n(.*?)```/s.exec(readme) ?? []
  const folder = mkdtempSync(new URL('../node_modules/.example-', import.meta.url).pathname)
  try {
    const program = `${folder}/example.ts`
    writeFileSync(program, `${example}\nprocess.stdout.write('"done"')\n`)
    const { status, stderr, output } = await runChild(pathToFileURL(program))
    expect({ status, stderr, output }).toEqual({ status: 0, stderr: '', output: 'done' })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('the README names every export', () => {
  const unnamed = Object.keys(hostmem).filter((name) => !readme.includes(`\`${name}`))
  expect(unnamed).toEqual([])
})
