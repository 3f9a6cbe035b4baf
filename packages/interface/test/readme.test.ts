import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import * as words from '../src/index.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

test('the README names every export', () => {
  const unnamed = Object.keys(words).filter((name) => !readme.includes(`\`${name}`))
  expect(unnamed).toEqual([])
})

test('the README names every code of an error', () => {
  const source = readFileSync(new URL('../src/errors.ts', import.meta.url), 'utf8')
  const codes = new Set(source.match(/ERR_XMC_[A-Z_]+(?=')/g))
  expect(codes.size).toBe(8)
  expect([...codes].filter((code) => !readme.includes(`\`${code}\``))).toEqual([])
})
