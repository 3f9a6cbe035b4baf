import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import * as foreign from '../src/index.ts'

test('the README names every export', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const unnamed = Object.keys(foreign).filter((name) => !readme.includes(`\`${name}`))
  expect(unnamed).toEqual([])
})
