import { readFileSync } from 'node:fs'
import * as core from '@xmc/core'
import { expect, it } from 'vitest'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

it('the example of the README is the one that is compiled here, and runs', async () => {
  const example = readFileSync(new URL('examples/smallest.ts', import.meta.url), 'utf8')
  const [, shown] = /```ts\n(.*?)```/s.exec(readme) ?? []
  expect(shown).toBe(example)
  await expect(import('./examples/smallest.ts')).resolves.toBeDefined()
})

it('the README names every export', () => {
  const unnamed = Object.keys(core).filter((name) => !readme.includes(`\`${name}`))
  expect(unnamed).toEqual([])
})

it('the README names every code of an error, and every trace channel', () => {
  const source = readFileSync(new URL('../src/errors.ts', import.meta.url), 'utf8')
  const codes = new Set(source.match(/ERR_XMC_[A-Z_]+(?=')/g))
  expect(codes.size).toBe(8)
  expect([...codes].filter((code) => !readme.includes(`\`${code}\``))).toEqual([])
  const channels = Object.values(core.traceChannels).map((channel) => String(channel.name))
  expect(channels.filter((name) => !readme.includes(`\`${name}\``))).toEqual([])
})
