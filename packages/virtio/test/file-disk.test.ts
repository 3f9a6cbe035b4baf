import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { FileDisk, type FileDiskOptions } from '../src/index.ts'
import { type FileCalls, fileCalls } from '../src/internal/file-calls.ts'

let folder = ''
let opened: FileDisk[] = []

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'xmc-virtio-'))
  opened = []
})

afterEach(async () => {
  await Promise.all(opened.map((disk) => disk.close()))
  fs.rmSync(folder, { recursive: true })
})

function file(name: string, content: Uint8Array): string {
  const path = join(folder, name)
  fs.writeFileSync(path, content)
  return path
}

async function open(path: string, options?: FileDiskOptions): Promise<FileDisk> {
  const disk = await FileDisk.open(path, options)
  opened.push(disk)
  return disk
}

/** The bytes 0, 1, … 255, 0, … */
function counting(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index & 0xff)
}

/** System calls that fail: each with the errno by its name. */
function failing(errno: string, ...names: (keyof FileCalls)[]): FileCalls {
  const error = Object.assign(new Error(`${errno}: as the test wants`), { code: errno })
  const calls = { ...fileCalls }
  if (names.includes('read')) {
    calls.read = (_1, _2, _3, done) => done(error, 0)
    calls.readNow = () => {
      throw error
    }
  }
  if (names.includes('write')) calls.write = (_1, _2, _3, done) => done(error, 0)
  if (names.includes('sync')) calls.sync = (_1, done) => done(error)
  if (names.includes('size')) calls.size = (_1, done) => done(error, 0)
  return calls
}

/** System calls that transfer up to `limit` bytes of the first buffer. */
function short(limit: number, counts: { calls: number }): FileCalls {
  const first = (buffers: readonly Uint8Array[]): Uint8Array[] => {
    counts.calls += 1
    return buffers.slice(0, 1).map((buffer) => buffer.subarray(0, limit))
  }
  return {
    ...fileCalls,
    read: (descriptor, buffers, position, done) =>
      fileCalls.read(descriptor, first(buffers), position, done),
    readNow: (descriptor, buffers, position) =>
      fileCalls.readNow(descriptor, first(buffers), position),
    write: (descriptor, buffers, position, done) =>
      fileCalls.write(descriptor, first(buffers), position, done),
  }
}

/** The system calls, counted. */
function counted(): { calls: FileCalls; counts: { quick: number; pooled: number } } {
  const counts = { quick: 0, pooled: 0 }
  const calls: FileCalls = {
    ...fileCalls,
    readNow: (...args) => {
      counts.quick += 1
      return fileCalls.readNow(...args)
    },
    read: (...args) => {
      counts.pooled += 1
      fileCalls.read(...args)
    },
  }
  return { calls, counts }
}

describe('opening', () => {
  test('a file of whole sectors', async () => {
    const path = file('disk.img', counting(1024))
    const disk = await open(path)
    expect(disk).toMatchObject({
      path,
      size: 1024,
      fileSize: 1024,
      readOnly: false,
      identity: 'disk.img',
    })
    expect(disk.discard).toBeUndefined()
    expect((await open(path, { identity: 'serial 1' })).identity).toBe('serial 1')
  })

  test('the identity is printable ASCII of up to 20 characters', async () => {
    const path = file('größe with a long name.img', counting(512))
    expect((await open(path)).identity).toBe('gr__e with a long na')
  })

  test.each([1, 511, 513, 1000])(
    'a read-only file of %i bytes is padded to a sector',
    async (size) => {
      const disk = await open(file('disk.img', counting(size)), { readOnly: true })
      expect(disk.fileSize).toBe(size)
      expect(disk.size).toBe(Math.ceil(size / 512) * 512)
      const buffer = new Uint8Array(disk.size).fill(0xee)
      await disk.read([buffer.subarray(0, 100), buffer.subarray(100)], 0)
      expect(buffer.subarray(0, size)).toEqual(counting(size))
      expect(buffer.subarray(size).every((byte) => byte === 0)).toBe(true)
    },
  )

  test.each([1, 511, 513])('read-write, a size of %i is refused', async (size) => {
    await expect(open(file('disk.img', counting(size)))).rejects.toMatchObject({
      code: 'ERR_XMC_DISK',
      reason: 'unaligned-size',
      message: expect.stringContaining(`has ${size} bytes`),
    })
  })

  test('a disk that does not exist, a directory, an empty file, a character device', async () => {
    const missing = join(folder, 'no-such.img')
    await expect(open(missing)).rejects.toMatchObject({
      code: 'ERR_XMC_DISK',
      reason: 'missing',
      disk: missing,
      errnoName: 'ENOENT',
    })
    await expect(open(join(file('a', counting(1)), 'b'))).rejects.toMatchObject({
      reason: 'missing',
    })
    await expect(open(folder, { readOnly: true })).rejects.toMatchObject({ reason: 'directory' })
    for (const readOnly of [true, false]) {
      await expect(open(file('empty.img', counting(0)), { readOnly })).rejects.toMatchObject({
        reason: 'empty',
      })
    }
    await expect(open('/dev/null')).rejects.toMatchObject({ reason: 'not-a-file' })
  })

  test('a refused file is not left open', async () => {
    const path = file('disk.img', counting(513))
    const before = fs.readdirSync('/proc/self/fd').length
    await expect(open(path)).rejects.toThrow('multiple of 512')
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before)
  })
})

describe.each([true, false])('reading and writing, with quick reads %s', (quickReads) => {
  test('one buffer and many, at any sector', async () => {
    const disk = await open(file('disk.img', counting(8192)), { quickReads })
    const one = new Uint8Array(512)
    await disk.read([one], 512)
    expect(one).toEqual(counting(8192).subarray(512, 1024))
    const many = [new Uint8Array(1), new Uint8Array(1000), new Uint8Array(23)]
    await disk.read(many, 7168)
    expect(Buffer.concat(many)).toEqual(Buffer.from(counting(8192).subarray(7168)))
    await disk.write([Uint8Array.of(1, 2, 3), new Uint8Array(509).fill(9)], 1024)
    await disk.write([new Uint8Array(512).fill(7)], 7680)
    const content = fs.readFileSync(disk.path)
    expect([...content.subarray(1023, 1028)]).toEqual([255, 1, 2, 3, 9])
    expect([content[7679], content[7680], content[8191]]).toEqual([255, 7, 7])
    expect(content.length).toBe(8192)
  })

  test('nothing to transfer is no call', async () => {
    const calls = failing('EIO', 'read')
    const disk = await open(file('disk.img', counting(512)), { calls, quickReads })
    await disk.read([], 512)
    await expect(disk.read([new Uint8Array(512)], 0)).rejects.toMatchObject({ reason: 'io' })
  })

  test.each([1, 7, 512, 700])('calls that transfer up to %i bytes are completed', async (limit) => {
    const counts = { calls: 0 }
    const calls = short(limit, counts)
    const disk = await open(file('disk.img', counting(4096)), { calls, quickReads })
    const buffers = [new Uint8Array(500), new Uint8Array(1), new Uint8Array(523)]
    await disk.read(buffers, 1024)
    expect(Buffer.concat(buffers)).toEqual(Buffer.from(counting(4096).subarray(1024, 2048)))
    const reads = counts.calls
    expect(reads).toBe(Math.ceil(500 / limit) + 1 + Math.ceil(523 / limit))
    await disk.write(
      buffers.map((buffer) => buffer.fill(5)),
      0,
    )
    expect(counts.calls).toBe(2 * reads)
    const content = fs.readFileSync(disk.path)
    expect(content.subarray(0, 1024).every((byte) => byte === 5)).toBe(true)
    expect(content[1025]).toBe(1)
  })

  test('more buffers than one system call takes', async () => {
    const disk = await open(file('disk.img', counting(2048)), { quickReads })
    const buffers = Array.from({ length: 2048 }, () => new Uint8Array(1))
    await disk.read(buffers, 0)
    expect(Buffer.concat(buffers)).toEqual(Buffer.from(counting(2048)))
    await disk.write(buffers.toReversed(), 0)
    expect(fs.readFileSync(disk.path)[0]).toBe(255)
  })

  test('requests over the end are refused', async () => {
    const disk = await open(file('disk.img', counting(1024)), { quickReads })
    for (const position of [-512, 1024, 2 ** 53]) {
      await expect(disk.read([new Uint8Array(512)], position)).rejects.toMatchObject({
        reason: 'range',
      })
    }
    await expect(disk.write([new Uint8Array(1024)], 512)).rejects.toMatchObject({ reason: 'range' })
    expect(fs.statSync(disk.path).size).toBe(1024)
  })

  test('a read-only disk takes no write, and flushes for nothing', async () => {
    const disk = await open(file('disk.img', counting(512)), {
      readOnly: true,
      calls: failing('EIO', 'sync'),
    })
    await expect(disk.write([new Uint8Array(512)], 0)).rejects.toMatchObject({
      code: 'ERR_XMC_DISK',
      reason: 'read-only',
    })
    await expect(disk.writeZeroes(0, 512, true)).rejects.toMatchObject({ reason: 'read-only' })
    await disk.flush()
    expect(fs.readFileSync(disk.path)[1]).toBe(1)
  })

  test('a flush reaches the file', async () => {
    let syncs = 0
    const calls: FileCalls = {
      ...fileCalls,
      sync: (descriptor, done) => {
        syncs += 1
        fileCalls.sync(descriptor, done)
      },
    }
    const disk = await open(file('disk.img', counting(512)), { calls })
    await disk.flush()
    expect(syncs).toBe(1)
  })
})

describe('quick reads', () => {
  test('are for up to 32 KiB, and only where they are wanted', async () => {
    const { calls, counts } = counted()
    const path = file('disk.img', counting(65_536))
    const disk = await open(path, { calls })
    await disk.read([new Uint8Array(32_768)], 0)
    expect(counts).toEqual({ quick: 1, pooled: 0 })
    await disk.read([new Uint8Array(32_768), new Uint8Array(512)], 0)
    expect(counts).toEqual({ quick: 1, pooled: 1 })
    const patient = await open(path, { calls, quickReads: false })
    await patient.read([new Uint8Array(512)], 0)
    expect(counts).toEqual({ quick: 1, pooled: 2 })
  })

  test('leave the event loop its turns: no more than 256 of them in one', async () => {
    const { calls, counts } = counted()
    const disk = await open(file('disk.img', counting(512)), { calls })
    const buffer = new Uint8Array(512)
    const reads = Array.from({ length: 600 }, () => disk.read([buffer], 0))
    expect(counts.quick).toBeLessThanOrEqual(256)
    await Promise.all(reads)
    expect(counts.quick + counts.pooled).toBe(600)
  })
})

describe('zeros', () => {
  test.each([512, 65_536, 65_536 + 512, 2 ** 21 + 512])('%i bytes', async (length) => {
    const disk = await open(file('disk.img', new Uint8Array(2 ** 21 + 2048).fill(1)))
    await disk.writeZeroes(512, length, true)
    const content = fs.readFileSync(disk.path)
    expect(content.subarray(512, 512 + length).every((byte) => byte === 0)).toBe(true)
    expect([content[511], content[512 + length]]).toEqual([1, 1])
  })

  test('with deallocate there is discard, and zeros that may be deallocated are', async () => {
    const ranges: [number, number][] = []
    const disk = await open(file('disk.img', new Uint8Array(4096).fill(1)), {
      deallocate: (descriptor, position, length) => {
        expect(fs.fstatSync(descriptor).size).toBe(4096)
        ranges.push([position, length])
      },
    })
    await disk.discard?.(512, 1024)
    await disk.writeZeroes(2048, 512, true)
    expect(ranges).toEqual([
      [512, 1024],
      [2048, 512],
    ])
    expect(fs.readFileSync(disk.path)[2048]).toBe(1)
    await disk.writeZeroes(2048, 512, false)
    expect(fs.readFileSync(disk.path)[2048]).toBe(0)
    await expect(disk.discard?.(4096, 512)).rejects.toMatchObject({ reason: 'range' })
  })

  test('a deallocate that fails is a typed error', async () => {
    const disk = await open(file('disk.img', new Uint8Array(512)), {
      deallocate: () => Promise.reject(Object.assign(new Error('no'), { code: 'EOPNOTSUPP' })),
    })
    await expect(disk.discard?.(0, 512)).rejects.toMatchObject({
      code: 'ERR_XMC_DISK',
      reason: 'io',
      errnoName: 'EOPNOTSUPP',
    })
  })
})

describe('disks that fail while they are served', () => {
  test.each([
    ['ENOSPC', 'full'],
    ['EDQUOT', 'full'],
    ['EROFS', 'read-only'],
    ['EACCES', 'permission'],
    ['EIO', 'io'],
    ['EFBIG', 'io'],
  ])('%s: %s', async (errno, reason) => {
    const disk = await open(file('disk.img', counting(512)), {
      calls: failing(errno, 'read', 'write', 'sync'),
    })
    const expected = { code: 'ERR_XMC_DISK', reason, errnoName: errno, disk: disk.path }
    await expect(disk.write([new Uint8Array(512)], 0)).rejects.toMatchObject(expected)
    await expect(disk.read([new Uint8Array(512)], 0)).rejects.toMatchObject(expected)
    await expect(disk.flush()).rejects.toMatchObject(expected)
  })

  test('a file that cannot be examined after a flush', async () => {
    const disk = await open(file('disk.img', counting(512)), { calls: failing('EIO', 'size') })
    await expect(disk.flush()).rejects.toMatchObject({ reason: 'io' })
  })

  test('a write that takes no byte does not go round for ever', async () => {
    const calls: FileCalls = { ...fileCalls, write: (_1, _2, _3, done) => done(null, 0) }
    const disk = await open(file('disk.img', counting(512)), { calls })
    await expect(disk.write([new Uint8Array(512)], 0)).rejects.toMatchObject({ reason: 'io' })
  })

  test.each([true, false])(
    'truncated, read-only %s: found by a read, and for good',
    async (readOnly) => {
      const disk = await open(file('disk.img', counting(4096)), { readOnly })
      fs.truncateSync(disk.path, 1000)
      const buffer = new Uint8Array(512)
      await disk.read([buffer], 0)
      expect(buffer[1]).toBe(1)
      const expected = { code: 'ERR_XMC_DISK', reason: 'truncated' }
      await expect(disk.read([buffer], 512)).rejects.toMatchObject(expected)
      await expect(disk.read([buffer], 0)).rejects.toMatchObject(expected)
      await expect(disk.flush()).rejects.toMatchObject(expected)
      await expect(disk.write([buffer], 3584)).rejects.toMatchObject(expected)
      expect(fs.statSync(disk.path).size).toBe(1000)
    },
  )

  test('truncated: found by a flush', async () => {
    const disk = await open(file('disk.img', counting(4096)))
    await disk.flush()
    fs.truncateSync(disk.path, 512)
    await expect(disk.flush()).rejects.toMatchObject({
      reason: 'truncated',
      message: expect.stringContaining('4096'),
    })
    await expect(disk.write([new Uint8Array(512)], 0)).rejects.toMatchObject({
      reason: 'truncated',
    })
  })
})

describe('closing', () => {
  test('waits for what is under way, and refuses what comes later', async () => {
    let finish: (() => void) | undefined
    const calls: FileCalls = {
      ...fileCalls,
      read: (descriptor, buffers, position, done) => {
        finish = () => fileCalls.read(descriptor, buffers, position, done)
      },
    }
    const disk = await open(file('disk.img', counting(512)), { calls, quickReads: false })
    const buffer = new Uint8Array(512)
    const reading = disk.read([buffer], 0)
    const closing = disk.close()
    await expect(disk.read([buffer], 0)).rejects.toMatchObject({ reason: 'closed' })
    await expect(disk.flush()).rejects.toMatchObject({ reason: 'closed' })
    finish?.()
    await reading
    expect(buffer[2]).toBe(2)
    await closing
    await disk.close()
  })

  test('no descriptor is left open', async () => {
    const path = file('disk.img', counting(512))
    const before = fs.readdirSync('/proc/self/fd').length
    for (let round = 0; round < 10; round += 1) await (await FileDisk.open(path)).close()
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before)
  })
})
