import { fstatSync, ftruncateSync, readlinkSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createMemoryFile } from '../src/index.ts'
import { countFileDescriptors } from './helpers/process-memory.ts'

function argumentError(field: string, expected: string): unknown {
  return expect.objectContaining({
    name: 'InvalidArgumentError',
    code: 'ERR_XMC_ARGUMENT',
    field,
    message: expect.stringContaining(`${field}: expected ${expected}, got `),
  })
}

describe('createMemoryFile', () => {
  it('makes a file of zeros with its name, size and a descriptor of its own', () => {
    using file = createMemoryFile({ name: 'guest 1', size: 10_000 })
    const bytes = new Uint8Array(10_000).fill(1)
    file.read(0, bytes)
    expect(bytes).toEqual(new Uint8Array(10_000))
    expect(file.name).toBe('guest 1')
    expect(file.size).toBe(10_000)
    expect(fstatSync(file.fd).size).toBe(10_000)
    expect(readlinkSync(`/proc/self/fd/${file.fd}`)).toBe('/memfd:guest 1 (deleted)')
  })

  it('takes memory only for pages that are written, and 1 TiB is a size like any other', () => {
    using file = createMemoryFile({ name: 'sparse', size: 2 ** 40 })
    expect(file.allocatedBytes).toBe(0)
    file.write(2 ** 40 - 3, Uint8Array.of(1, 2, 3))
    expect(file.allocatedBytes).toBe(4096)
    const end = new Uint8Array(4)
    file.read(2 ** 40 - 4, end)
    expect(end).toEqual(Uint8Array.of(0, 1, 2, 3))
  })

  it.each([[''], ['a'.repeat(250)], ['ü'.repeat(125)], ['nul\0'], [undefined], [7]])(
    'refuses the name %j',
    (name) => {
      const options = { name, size: 1 }
      // @ts-expect-error not only strings are given here
      expect(() => createMemoryFile(options)).toThrow(
        argumentError('name', '1 to 249 bytes of UTF-8 without NUL'),
      )
    },
  )

  it.each([[-1], [1.5], [Number.NaN], [2 ** 53], [Number.POSITIVE_INFINITY], ['1'], [null]])(
    'refuses the size %j',
    (size) => {
      const options = { name: 'file', size }
      // @ts-expect-error not only numbers are given here
      expect(() => createMemoryFile(options)).toThrow(
        argumentError('size', 'an integer from 0 to 2^53 - 1'),
      )
    },
  )
})

describe('MemoryFile', () => {
  it('reads back what was written, at any offset', () => {
    using file = createMemoryFile({ name: 'file', size: 8192 })
    file.write(
      4090,
      Uint8Array.from({ length: 12 }, (_, index) => index + 1),
    )
    const bytes = new Uint8Array(14)
    file.read(4089, bytes)
    expect([...bytes]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0])
    file.write(8192, new Uint8Array(0))
    expect(file.size).toBe(8192)
  })

  it('resize cuts off what is beyond the size, and adds zeros', () => {
    using file = createMemoryFile({ name: 'file', size: 8192 })
    file.write(4090, new Uint8Array(12).fill(9))
    file.resize(4092)
    expect(file.size).toBe(4092)
    file.resize(8192)
    const bytes = new Uint8Array(12)
    file.read(4090, bytes)
    expect([...bytes]).toEqual([9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  })

  it('punchHole zeroes a range and gives its whole pages back', () => {
    using file = createMemoryFile({ name: 'file', size: 4 * 4096 })
    file.write(0, new Uint8Array(4 * 4096).fill(3))
    expect(file.allocatedBytes).toBe(16_384)
    file.punchHole(4000, 8192)
    const bytes = new Uint8Array(4 * 4096)
    file.read(0, bytes)
    expect(file.allocatedBytes).toBe(12_288)
    expect(file.size).toBe(16_384)
    expect([...bytes.subarray(3999, 4001)]).toEqual([3, 0])
    expect([...bytes.subarray(12_191, 12_193)]).toEqual([0, 3])
    expect(bytes.reduce((sum, byte) => sum + byte, 0)).toBe(3 * 8192)
  })

  it.each([
    [-1, 1, 'offset', 'an integer from 0 to 4096'],
    [4097, 1, 'offset', 'an integer from 0 to 4096'],
    [0.5, 1, 'offset', 'an integer from 0 to 4096'],
    [Number.NaN, 1, 'offset', 'an integer from 0 to 4096'],
    [4000, 97, 'length', 'an integer from 0 to 96, up to the end of the file'],
    [4096, 1, 'length', 'an integer from 0 to 0, up to the end of the file'],
  ])('refuses to read or write at %d %d bytes', (offset, length, field, expected) => {
    using file = createMemoryFile({ name: 'file', size: 4096 })
    const bytes = new Uint8Array(length)
    expect(() => file.read(offset, bytes)).toThrow(argumentError(field, expected))
    expect(() => file.write(offset, bytes)).toThrow(argumentError(field, expected))
    expect(file.allocatedBytes).toBe(0)
  })

  it.each([[0], [-1], [97], [1.5], [2 ** 53]])('refuses a hole of %d bytes', (length) => {
    using file = createMemoryFile({ name: 'file', size: 4096 })
    expect(() => file.punchHole(4000, length)).toThrow(
      argumentError('length', 'an integer from 1 to 96, up to the end of the file'),
    )
  })

  it('reports a file that was cut short through its descriptor instead of reading forever', () => {
    using file = createMemoryFile({ name: 'file', size: 4096 })
    ftruncateSync(file.fd, 100)
    expect(() => file.read(0, new Uint8Array(200))).toThrow(
      argumentError(
        'offset',
        'an offset inside the file, which was cut short through its descriptor',
      ),
    )
  })

  it('reports a size that the kernel refuses, and keeps the old one', () => {
    using file = createMemoryFile({ name: 'file', size: 4096 })
    ftruncateSync(file.fd, 8192)
    expect(() => file.resize(-1)).toThrow(argumentError('size', 'an integer from 0 to 2^53 - 1'))
    expect(file.size).toBe(4096)
    expect(fstatSync(file.fd).size).toBe(8192)
  })

  it('close releases the descriptor, once, and later calls say that the file is closed', () => {
    const before = countFileDescriptors()
    const file = createMemoryFile({ name: 'gone', size: 4096 })
    expect(countFileDescriptors()).toBe(before + 1)
    file.close()
    file.close()
    file[Symbol.dispose]()
    expect(countFileDescriptors()).toBe(before)
    const closed: unknown = expect.objectContaining({
      code: 'ERR_XMC_CLOSED',
      message: 'memory file gone is closed: open a new one',
    })
    expect(() => file.fd).toThrow(closed)
    expect(() => file.allocatedBytes).toThrow(closed)
    expect(() => file.resize(1)).toThrow(closed)
    expect(() => file.read(0, new Uint8Array(1))).toThrow(closed)
    expect(() => file.write(0, new Uint8Array(1))).toThrow(closed)
    expect(() => file.punchHole(0, 1)).toThrow(closed)
  })
})
