import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createMemoryFile, punchHole } from '../src/index.ts'

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'xmc-hostmem-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

test('a range of a file reads as zeros, its neighbours and the size stay', async () => {
  const path = join(folder, 'file')
  writeFileSync(path, new Uint8Array(65_536).fill(7))
  const fd = openSync(path, 'r+')
  try {
    await punchHole(fd, 8192, 4608)
    const bytes = readFileSync(path)
    expect([bytes[8191], bytes[8192], bytes[12_799], bytes[12_800]]).toEqual([7, 0, 0, 7])
    expect(bytes.length).toBe(65_536)
  } finally {
    closeSync(fd)
  }
})

test('the memory of a memory file is given back', async () => {
  using file = createMemoryFile({ name: 'holes', size: 1 << 20 })
  file.write(0, new Uint8Array(1 << 20).fill(1))
  const before = file.allocatedBytes
  await punchHole(file.fd, 0, 1 << 19)
  expect([before, file.allocatedBytes]).toEqual([1 << 20, 1 << 19])
  expect(fstatSync(file.fd).size).toBe(1 << 20)
})

test('what the kernel refuses is named', async () => {
  const path = join(folder, 'file')
  writeFileSync(path, new Uint8Array(4096))
  const fd = openSync(path, 'r')
  try {
    await expect(punchHole(fd, 0, 4096)).rejects.toMatchObject({
      code: 'ERR_XMC_SYSTEM_CALL',
      call: 'fallocate',
      errnoName: 'EBADF',
    })
  } finally {
    closeSync(fd)
  }
})

test.each([
  ['fd', [-1, 0, 1]],
  ['offset', [0, -1, 1]],
  ['length', [0, 0, 0]],
  ['length', [0, 4096, Number.MAX_SAFE_INTEGER]],
])('a wrong %s is refused', async (field, [fd = 0, offset = 0, length = 0]) => {
  await expect(punchHole(fd, offset, length)).rejects.toMatchObject({
    code: 'ERR_XMC_ARGUMENT',
    field,
  })
})
