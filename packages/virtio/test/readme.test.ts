import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as virtio from '@xmc/virtio'
import { describe, expect, test } from 'vitest'
import { DATA, Machine } from './doubles/machine.ts'
import { DigestDevice } from './examples/digest-device.ts'

const readme = read('../README.md')

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8')
}

describe('README', () => {
  test('its examples are the ones that are compiled here', () => {
    const shown = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code)
    expect(shown).toEqual([read('examples/smallest.ts'), read('examples/digest-device.ts')])
  })

  test('its smallest example runs', async () => {
    await expect(import('./examples/smallest.ts')).resolves.toBeDefined()
  })

  test('its new device has up to 30 lines, and works', () => {
    expect(read('examples/digest-device.ts').trimEnd().split('\n').length).toBeLessThanOrEqual(30)
    const machine = new Machine(new DigestDevice())
    const queue = machine.start(8)
    machine.put(DATA, 'abc')
    machine.put(DATA + 100, 'def')
    machine.send(queue, [
      { at: DATA, length: 3 },
      { at: DATA + 100, length: 3 },
      { at: DATA + 200, length: 32, write: true },
    ])
    const digest = createHash('sha256').update('abcdef').digest()
    expect(Buffer.from(machine.memory.bytes.subarray(DATA + 200, DATA + 232))).toEqual(digest)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 32 }])
    expect(machine.transport.read(0x100, 4)).toBe(1)
    expect(machine.read(0x060)).toBe(3)
    machine.send(queue, [{ at: DATA + 200, length: 31, write: true }])
    expect(machine.read(0x070)).toBe(15 | 64)
    expect(machine.memory.live).toBe(0)
  })

  test('it names every export but the constants of the specification', () => {
    const unnamed = Object.keys(virtio).filter(
      (name) => !/^(VIRTIO|VIRTQ)_/.test(name) && !readme.includes(`\`${name}`),
    )
    expect(unnamed).toEqual([])
  })

  test('it names every code and every reason of an error', () => {
    const sources = ['errors', 'disk', 'block-request-error']
      .map((name) => read(`../src/${name}.ts`))
      .join('\n')
    const codes = new Set(sources.match(/ERR_XMC_[A-Z_]+(?=')/g))
    expect(codes.size).toBe(4)
    const reasons = sources.match(/(?<=^ {2}\| ')[a-z-]+(?=')/gm) ?? []
    expect(reasons.length).toBeGreaterThan(30)
    const words = [...codes, ...reasons]
    expect(words.filter((word) => !readme.includes(`\`${word}\``))).toEqual([])
  })
})
