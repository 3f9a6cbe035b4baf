import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import * as xen from '../src/index.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

test('the README names every export', () => {
  const unnamed = Object.keys(xen).filter((name) => !readme.includes(`\`${name}`))
  expect(unnamed).toEqual([])
})
