import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import * as grants from '../src/index.ts'

test('the README names every export', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const unnamed = Object.keys(grants).filter((name) => !readme.includes(`\`${name}`))
  expect(unnamed).toEqual([])
})
