import { expect, test } from 'vitest'
import { MemoryDisk } from '../src/index.ts'

test('reads and writes its bytes, in pieces', async () => {
  const bytes = Uint8Array.from({ length: 1024 }, (_, index) => index & 0xff)
  const disk = new MemoryDisk(bytes)
  expect(disk).toMatchObject({ size: 1024, readOnly: false, identity: 'memory', flushes: 0 })
  const target = [new Uint8Array(12), new Uint8Array(500)]
  await disk.read(target, 512)
  expect(Buffer.concat(target)).toEqual(Buffer.from(bytes.subarray(512)))
  await disk.write([new Uint8Array(511).fill(9), Uint8Array.of(8)], 0)
  expect([bytes[0], bytes[510], bytes[511], bytes[512]]).toEqual([9, 9, 8, 0])
  await disk.flush()
  expect(disk.flushes).toBe(1)
})

test('zeros and discards read as zeros', async () => {
  const disk = new MemoryDisk(new Uint8Array(2048).fill(1))
  await disk.writeZeroes(512, 512)
  await disk.discard(1536, 512)
  expect([0, 512, 1024, 1536].map((at) => disk.bytes[at])).toEqual([1, 0, 1, 0])
})

test('requests over the end, and writes to a read-only disk, are refused', async () => {
  const disk = new MemoryDisk(1024, { readOnly: true, identity: 'scratch' })
  const buffer = new Uint8Array(1024)
  await expect(disk.read([buffer], 512)).rejects.toMatchObject({ reason: 'range' })
  await expect(disk.write([buffer], 0)).rejects.toMatchObject({ reason: 'read-only' })
  await expect(disk.discard(0, 512)).rejects.toMatchObject({ code: 'ERR_XMC_DISK' })
  await expect(disk.writeZeroes(0, 512)).rejects.toMatchObject({ disk: 'scratch' })
})

test.each([0, 511, -512, 0.5])('a size of %d is refused', (size) => {
  expect(() => new MemoryDisk(size)).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'content' }),
  )
})

test('another size: what is added reads as zeros, and what is cut off is gone', async () => {
  const disk = new MemoryDisk(new Uint8Array(1024).fill(1))
  disk.resize(512)
  disk.resize(1536)
  expect([disk.size, disk.bytes[511], disk.bytes[512]]).toEqual([1536, 1, 0])
  await expect(disk.read([new Uint8Array(512)], 1536)).rejects.toMatchObject({ reason: 'range' })
  expect(() => disk.resize(100)).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'size' }),
  )
})
