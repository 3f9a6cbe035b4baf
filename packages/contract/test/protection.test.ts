import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { protectionAt } from '../src/index.ts'

function firstAddress(pattern: RegExp): number {
  const line = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .find((candidate) => pattern.test(candidate))
  return Number.parseInt(line ?? '', 16)
}

describe('protectionAt', () => {
  test('tells read-only from writable pages of this process', () => {
    expect(protectionAt(firstAddress(/^\S+ r-/))).toBe('read-only')
    expect(protectionAt(firstAddress(/^\S+ rw.*\[stack\]/) + 4096)).toBe('read-write')
  })

  test('refuses an address where nothing is mapped', () => {
    expect(() => protectionAt(0x10)).toThrow('no readable page is mapped at 0x10')
  })
})
