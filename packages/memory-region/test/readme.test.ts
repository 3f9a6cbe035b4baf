import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import * as memoryRegion from '../src/index.ts'
import { magic, picture, view } from './examples/machine.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

test('the README names every export', () => {
  const unnamed = Object.keys(memoryRegion).filter((name) => !readme.includes(`\`${name}`))
  expect(unnamed).toEqual([])
})

test('the example of the README runs', () => {
  const file = readFileSync(new URL('./examples/machine.ts', import.meta.url), 'utf8')
  const example = file
    .replace('../../src/index.ts', '@xmc/memory-region')
    .replaceAll(/export const (\w+): \w+/g, 'const $1')
  expect(readme).toContain(`\`\`\`ts\n${example}\`\`\`\n`)
  expect(magic).toBe(0x74726976)
})

test('the pictures of the README are what the example prints', () => {
  expect(readme).toContain(`\`\`\`text\n${picture}\`\`\`\n`)
  expect(readme).toContain(`\`\`\`text\n${view}\`\`\`\n`)
})

test('the README names every code of an error', () => {
  const source = readFileSync(new URL('../src/errors.ts', import.meta.url), 'utf8')
  const codes = [...source.matchAll(/'(ERR_XMC_\w+)'/g)].map(([, code]) => code)
  expect(codes).toHaveLength(9)
  expect(codes.filter((code) => !readme.includes(`\`${code}\``))).toEqual([])
})
