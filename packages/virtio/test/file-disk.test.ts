import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { FileDisk, type FileDiskOptions } from '../src/index.ts'
import { CallPool } from '../src/internal/call-pool.ts'
import { blockSizePath, type FileCalls, fileCalls } from '../src/internal/file-calls.ts'

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

/** A kernel that tells of lost pages once, to the sync that is under way, and then forgets them. */
class WriteBack {
  syncs = 0
  mostAtATime = 0
  readonly calls: FileCalls
  #atATime = 0
  #errno: string | undefined

  constructor() {
    this.calls = { ...fileCalls, sync: (_, done) => this.#sync(done) }
  }

  fail(errno: string): void {
    this.#errno = errno
  }

  #sync(done: (error: NodeJS.ErrnoException | null) => void): void {
    this.syncs += 1
    this.#atATime += 1
    this.mostAtATime = Math.max(this.mostAtATime, this.#atATime)
    const errno = this.#errno
    this.#errno = undefined
    setImmediate(() => {
      this.#atATime -= 1
      done(errno === undefined ? null : Object.assign(new Error(errno), { code: errno }))
    })
  }
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
      identity: '',
    })
    expect(disk.discard).toBeUndefined()
    expect((await open(path, { identity: 'serial 1' })).identity).toBe('serial 1')
  })

  test('the name of the file is not told to the guest', async () => {
    const disk = await open(file('customer-4711.img', counting(512)))
    expect(disk.identity).toBe('')
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

  test.each([
    ['FIFO', true],
    ['FIFO', false],
    ['directory', true],
    ['character device', true],
    ['character device', false],
  ])('a path that becomes a %s between two calls, read-only %s', async (kind, readOnly) => {
    const path = join(folder, 'disk.img')
    const regular = fs.statSync(file('other.img', counting(512)))
    if (kind === 'FIFO') execFileSync('mkfifo', [path])
    else if (kind === 'directory') fs.mkdirSync(path)
    else fs.symlinkSync('/dev/null', path)
    const before = fs.readdirSync('/proc/self/fd').length
    const calls: FileCalls = { ...fileCalls, stat: async () => regular }
    await expect(open(path, { calls, readOnly })).rejects.toMatchObject({
      code: 'ERR_XMC_DISK',
      reason: kind === 'directory' ? 'directory' : 'not-a-file',
      disk: path,
    })
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before)
  })

  test('a block device has the size that the kernel tells of it', async () => {
    const path = file('device', counting(2048))
    const stats = fs.statSync(path)
    stats.isFile = () => false
    stats.isBlockDevice = () => true
    const calls: FileCalls = {
      ...fileCalls,
      stat: async () => stats,
      fstat: async () => stats,
      sizeNow: () => 1536,
    }
    const disk = await open(path, { calls })
    expect(disk.size).toBe(1536)
    await expect(disk.read([new Uint8Array(512)], 1536)).rejects.toMatchObject({ reason: 'range' })
  })

  test.each([
    [0x0801, '8:1'],
    [0xfd00, '253:0'],
    [0x10_0345, '3:325'],
    [0x1000_0000_0205, '4098:5'],
  ])('device number %d is that of %s', (device, numbers) => {
    expect(blockSizePath(device)).toBe(`/sys/dev/block/${numbers}/size`)
  })

  test.each([0, 1.5, 1025])('%d calls at a time are refused', async (callsInFlight) => {
    await expect(open(file('disk.img', counting(512)), { callsInFlight })).rejects.toMatchObject({
      code: 'ERR_XMC_ARGUMENT',
      field: 'callsInFlight',
    })
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

  test.each([
    ['EOPNOTSUPP', { code: 'EOPNOTSUPP' }],
    ['ENOTSUP', { code: 'ERR_XMC_SYSTEM_CALL', errnoName: 'ENOTSUP' }],
    ['ENOSYS', { code: 'ENOSYS' }],
  ])('a file that cannot give space back: %s', async (_, properties) => {
    let calls = 0
    const disk = await open(file('disk.img', new Uint8Array(4096).fill(1)), {
      deallocate: () => {
        calls += 1
        throw Object.assign(new Error('no'), properties)
      },
    })
    await disk.writeZeroes(512, 512, true)
    await disk.discard?.(2048, 512)
    await disk.discard?.(2560, 512)
    await disk.writeZeroes(3072, 512, true)
    expect(calls).toBe(1)
    expect(disk.statistics).toMatchObject({ deallocations: 0, keptRanges: 4 })
    const content = fs.readFileSync(disk.path)
    const sectors = Array.from({ length: 8 }, (_each, index) => content[512 * index])
    expect(sectors).toEqual([1, 0, 1, 1, 1, 1, 0, 1])
    await expect(disk.discard?.(4096, 512)).rejects.toMatchObject({ reason: 'range' })
  })

  test.each(['EIO', 'EINVAL', 'ENOSPC', 'EINTR'])(
    'a deallocation that fails with %s: a discard says so, zeros are written, and it is tried again',
    async (errno) => {
      let calls = 0
      const disk = await open(file('disk.img', new Uint8Array(1024).fill(1)), {
        deallocate: () => {
          calls += 1
          return Promise.reject(Object.assign(new Error('no'), { code: errno }))
        },
      })
      await expect(disk.discard?.(0, 512)).rejects.toMatchObject({
        code: 'ERR_XMC_DISK',
        reason: errno === 'ENOSPC' ? 'full' : 'io',
        errnoName: errno,
      })
      await disk.writeZeroes(512, 512, true)
      expect(calls).toBe(2)
      expect([fs.readFileSync(disk.path)[0], fs.readFileSync(disk.path)[512]]).toEqual([1, 0])
    },
  )
})

describe('files that take one buffer at a time', () => {
  test.each(['EINVAL', 'ENOSYS', 'EOPNOTSUPP'])('%s', async (errno) => {
    const counts = { vectors: 0, single: 0 }
    const error = Object.assign(new Error(errno), { code: errno })
    const refuses = (buffers: readonly Uint8Array[]): boolean => {
      counts[buffers.length > 1 ? 'vectors' : 'single'] += 1
      return buffers.length > 1
    }
    const calls: FileCalls = {
      ...fileCalls,
      read: (descriptor, buffers, position, done) => {
        if (refuses(buffers)) done(error, 0)
        else fileCalls.read(descriptor, buffers, position, done)
      },
      write: (descriptor, buffers, position, done) => {
        if (refuses(buffers)) done(error, 0)
        else fileCalls.write(descriptor, buffers, position, done)
      },
      readNow: (descriptor, buffers, position) => {
        if (refuses(buffers)) throw error
        return fileCalls.readNow(descriptor, buffers, position)
      },
    }
    for (const quickReads of [false, true]) {
      Object.assign(counts, { vectors: 0, single: 0 })
      const disk = await open(file('disk.img', counting(2048)), { calls, quickReads })
      const buffers = [new Uint8Array(500), new Uint8Array(12), new Uint8Array(512)]
      await disk.read(buffers, 512)
      expect(Buffer.concat(buffers)).toEqual(Buffer.from(counting(2048).subarray(512, 1536)))
      await disk.write([new Uint8Array(500).fill(8), new Uint8Array(12).fill(9)], 0)
      expect(fs.readFileSync(disk.path).subarray(498, 513)).toEqual(
        Buffer.from([8, 8, ...new Uint8Array(12).fill(9), 0]),
      )
      expect(counts).toEqual({ vectors: 1, single: 5 })
    }
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
    await expect(disk.read([new Uint8Array(512)], 0)).rejects.toMatchObject(expected)
    await expect(disk.flush()).rejects.toMatchObject(expected)
    await expect(disk.write([new Uint8Array(512)], 0)).rejects.toMatchObject(expected)
  })

  test.each(['EIO', 'ENOSPC', 'EDQUOT', 'EROFS', 'ENXIO'])(
    'a flush that failed with %s: none succeeds until the disk is opened again',
    async (errno) => {
      const kernel = new WriteBack()
      const path = file('disk.img', counting(512))
      const disk = await open(path, { calls: kernel.calls })
      await disk.write([new Uint8Array(512)], 0)
      kernel.fail(errno)
      await expect(disk.flush()).rejects.toMatchObject({ errnoName: errno })
      for (let again = 0; again < 3; again++) {
        await expect(disk.flush()).rejects.toMatchObject({
          code: 'ERR_XMC_DISK',
          reason: 'lost-writes',
          errnoName: errno,
          message: expect.stringContaining('open the disk again'),
        })
      }
      expect(kernel.syncs).toBe(1)
      await disk.read([new Uint8Array(512)], 0)
      await (await open(path, { calls: kernel.calls })).flush()
      expect(kernel.syncs).toBe(2)
    },
  )

  test('flushes at the same time: the kernel tells one of them, and none succeeds', async () => {
    const kernel = new WriteBack()
    const disk = await open(file('disk.img', counting(512)), { calls: kernel.calls })
    kernel.fail('EIO')
    const results = await Promise.allSettled([disk.flush(), disk.flush(), disk.flush()])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(kernel.syncs).toBe(1)
    expect(kernel.mostAtATime).toBe(1)
  })

  test('flushes at the same time share a sync, but not one that was under way', async () => {
    const kernel = new WriteBack()
    const disk = await open(file('disk.img', counting(512)), { calls: kernel.calls })
    await Promise.all(Array.from({ length: 100 }, () => disk.flush()))
    expect([kernel.syncs, kernel.mostAtATime]).toEqual([2, 1])
  })

  test.each([
    ['EIO', false],
    ['EREMOTEIO', false],
    ['ENOSPC', true],
    ['EFBIG', true],
    ['EROFS', true],
  ])('after a write that failed with %s a flush succeeds: %s', async (errno, succeeds) => {
    const calls = { ...fileCalls }
    const disk = await open(file('disk.img', counting(512)), { calls })
    const error = Object.assign(new Error(errno), { code: errno })
    calls.write = (_1, _2, _3, done) => done(error, 0)
    await expect(disk.write([new Uint8Array(512)], 0)).rejects.toMatchObject({ errnoName: errno })
    const [flushed] = await Promise.allSettled([disk.flush()])
    const lost = { reason: { reason: 'lost-writes', errnoName: errno } }
    expect(flushed).toMatchObject(succeeds ? { status: 'fulfilled' } : lost)
  })

  test('a write that fails while a flush is under way, as one does whose medium is lost', async () => {
    const calls = { ...fileCalls }
    let sync: (() => void) | undefined
    calls.sync = (_, done) => {
      sync = () => done(null)
    }
    calls.write = (_1, _2, _3, done) => done(Object.assign(new Error('EIO'), { code: 'EIO' }), 0)
    const disk = await open(file('disk.img', counting(512)), { calls })
    const flushed = disk.flush()
    await expect(disk.write([new Uint8Array(512)], 0)).rejects.toMatchObject({ reason: 'io' })
    sync?.()
    await expect(flushed).rejects.toMatchObject({ reason: 'lost-writes' })
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

describe('a file whose size changes', () => {
  test('grows: after a look at it, what is behind the old end can be used', async () => {
    const disk = await open(file('disk.img', counting(1024)))
    fs.truncateSync(disk.path, 2048)
    expect(disk.size).toBe(1024)
    disk.refresh()
    expect([disk.size, disk.fileSize]).toEqual([2048, 2048])
    await disk.write([new Uint8Array(512).fill(7)], 1536)
    const buffer = new Uint8Array(512)
    await disk.read([buffer], 1536)
    expect(buffer[511]).toBe(7)
  })

  test('grows to an odd size: whole sectors are added, or a padded one where it is only read', async () => {
    const path = file('disk.img', counting(1024))
    const written = await open(path)
    const read = await open(path, { readOnly: true })
    fs.truncateSync(path, 1800)
    written.refresh()
    read.refresh()
    expect([written.size, read.size, read.fileSize]).toEqual([1536, 2048, 1800])
    const buffer = new Uint8Array(512).fill(9)
    await read.read([buffer], 1536)
    expect(buffer.every((byte) => byte === 0)).toBe(true)
  })

  test('shrinks: what is behind the new end fails, and the rest goes on', async () => {
    const disk = await open(file('disk.img', counting(2048)))
    fs.truncateSync(disk.path, 1024)
    disk.refresh()
    expect(disk.size).toBe(1024)
    const buffer = new Uint8Array(512)
    await expect(disk.read([buffer], 1024)).rejects.toMatchObject({ reason: 'range' })
    await expect(disk.write([buffer], 1024)).rejects.toMatchObject({ reason: 'range' })
    await expect(disk.writeZeroes(512, 1024, false)).rejects.toMatchObject({ reason: 'range' })
    await disk.read([buffer], 512)
    await disk.flush()
    expect(fs.statSync(disk.path).size).toBe(1024)
  })

  test('shrinks during a read: it fails, and gives no zeros', async () => {
    let finish: (() => void) | undefined
    const calls: FileCalls = {
      ...fileCalls,
      read: (descriptor, buffers, position, done) => {
        finish = () => fileCalls.read(descriptor, buffers, position, done)
      },
    }
    const disk = await open(file('disk.img', counting(2048)), { calls, quickReads: false })
    const read = disk.read([new Uint8Array(512)], 1024)
    fs.truncateSync(disk.path, 1024)
    disk.refresh()
    finish?.()
    await expect(read).rejects.toMatchObject({ reason: 'range' })
  })

  test('a disk that was found truncated goes on with the size that it is told to take', async () => {
    const disk = await open(file('disk.img', counting(2048)))
    fs.truncateSync(disk.path, 1024)
    const buffer = new Uint8Array(512)
    await expect(disk.read([buffer], 1024)).rejects.toMatchObject({ reason: 'truncated' })
    disk.refresh()
    await disk.read([buffer], 512)
    await expect(disk.read([buffer], 1024)).rejects.toMatchObject({ reason: 'range' })
  })

  test('one that cannot be looked at keeps its size', async () => {
    const calls = { ...fileCalls }
    const disk = await open(file('disk.img', counting(1024)), { calls })
    calls.sizeNow = () => {
      throw Object.assign(new Error('EIO'), { code: 'EIO' })
    }
    expect(() => disk.refresh()).toThrow(expect.objectContaining({ reason: 'io' }))
    expect(disk.size).toBe(1024)
    await disk.close()
    expect(() => disk.refresh()).toThrow(expect.objectContaining({ reason: 'closed' }))
  })
})

/** Calls that stand still until `release`. */
function standing(behind: FileCalls = fileCalls): {
  calls: FileCalls
  started: number[]
  release: () => void
} {
  const started: number[] = []
  const held: (() => void)[] = []
  const calls: FileCalls = {
    ...behind,
    read: (descriptor, buffers, position, done) => {
      started.push(position)
      held.push(() => behind.read(descriptor, buffers, position, done))
    },
  }
  return {
    calls,
    started,
    release: () => {
      for (const go of held.splice(0)) go()
    },
  }
}

/** Lets held calls go, one turn of the event loop after the other, until `work` has settled. */
async function releaseUntil(work: Promise<unknown>, release: () => void): Promise<void> {
  const state = { settled: false }
  const end = (): void => {
    state.settled = true
  }
  const ended = work.then(end, end)
  // Threads read what was let go, in as many turns as that takes on this machine.
  while (!state.settled) {
    release()
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
  await ended
}

describe('threads of the pool', () => {
  test('a disk whose calls stand still has all but one; the others follow in order', async () => {
    const { calls, started, release } = standing()
    const pool = new CallPool(4)
    const disk = await open(file('disk.img', counting(8192)), { calls, pool, quickReads: false })
    const reads = Array.from({ length: 16 }, (_, index) =>
      disk.read([new Uint8Array(512)], 512 * index),
    )
    expect(started).toEqual([0, 512, 1024])
    expect(disk.statistics).toMatchObject({
      callsInFlight: 3,
      running: 3,
      mostRunning: 3,
      waiting: 13,
      waited: 13,
    })
    await releaseUntil(Promise.all(reads), release)
    expect(started).toEqual(Array.from({ length: 16 }, (_, index) => 512 * index))
    expect(disk.statistics).toMatchObject({ running: 0, mostRunning: 3, waiting: 0, waited: 13 })
  })

  test('another disk gets a thread, however many calls of the first stand still', async () => {
    const { calls, started, release } = standing()
    const pool = new CallPool(4)
    const path = file('disk.img', counting(8192))
    const hung = await open(path, { calls, pool, quickReads: false })
    const other = await open(path, { pool, quickReads: false })
    const reads = Array.from({ length: 16 }, () => hung.read([new Uint8Array(512)], 0))
    expect(started.length).toBe(2)
    const buffer = new Uint8Array(512)
    await other.read([buffer], 512)
    expect(buffer).toEqual(counting(1024).subarray(512))
    expect(started.length).toBe(2)
    await other.close()
    await releaseUntil(Promise.all(reads), release)
    expect(hung.statistics.mostRunning).toBe(3)
  })

  test('a limit of its own', async () => {
    const { calls, started, release } = standing()
    const disk = await open(file('disk.img', counting(512)), {
      calls,
      quickReads: false,
      callsInFlight: 1,
    })
    const reads = [disk.read([new Uint8Array(512)], 0), disk.read([new Uint8Array(512)], 0)]
    expect(started.length).toBe(1)
    release()
    await reads[0]
    release()
    await reads[1]
    expect(disk.statistics).toMatchObject({ callsInFlight: 1, mostRunning: 1 })
  })
})

describe('long reads that wait for a thread', () => {
  const LENGTH = 64 * 1024

  /** Makes reads of 64 KiB at these positions, where three calls of other reads stand still. */
  async function waiting(path: string, positions: readonly number[], options?: FileDiskOptions) {
    const { calls, started, release } = standing(options?.calls)
    const disk = await open(path, { readOnly: true, ...options, calls, pool: new CallPool(4) })
    const first = Array.from({ length: 3 }, () => disk.read([new Uint8Array(LENGTH)], 0))
    const buffers: Uint8Array[] = []
    const reads = positions.map((position) => {
      const buffer = new Uint8Array(LENGTH)
      buffers.push(buffer)
      return disk.read([buffer], position)
    })
    const ends = Promise.allSettled(reads)
    const before = disk.statistics
    await releaseUntil(Promise.all([ends, Promise.allSettled(first)]), release)
    expect(disk.statistics).toMatchObject({ running: 0, waiting: 0, mostRunning: 3 })
    const results = await ends
    return { buffers, results, before, started: started.slice(3) }
  }

  /** 64 KiB each of 0, 1, 2, … */
  function numbered(count: number): Uint8Array {
    return Uint8Array.from({ length: count * LENGTH }, (_, index) => Math.floor(index / LENGTH))
  }

  function at(...numbers: number[]): number[] {
    return numbers.map((number) => number * LENGTH)
  }

  test('are one call where each goes on at the end of the one before', async () => {
    const { buffers, before, started } = await waiting(
      file('disk.img', numbered(8)),
      at(1, 2, 3, 5, 6, 5),
    )
    expect(started).toEqual(at(1, 5, 5))
    expect(before).toMatchObject({ running: 3, waiting: 3, waited: 3 })
    for (const [index, number] of [1, 2, 3, 5, 6, 5].entries()) {
      expect(buffers[index]?.every((byte) => byte === number)).toBe(true)
    }
  })

  test('are no more than 4 MiB together', async () => {
    const numbers = Array.from({ length: 70 }, (_, index) => index)
    const { buffers, started } = await waiting(file('disk.img', numbered(70)), at(...numbers))
    expect(started).toEqual(at(0, 64))
    expect(buffers.map((buffer) => buffer[LENGTH - 1])).toEqual(numbers)
  })

  test('fail by themselves: the others are read', async () => {
    const path = file('disk.img', numbered(4))
    const calls: FileCalls = {
      ...fileCalls,
      read: (descriptor, buffers, position, done) => {
        const end = position + buffers.reduce((sum, { length }) => sum + length, 0)
        const bad = 2 * LENGTH + 512
        if (position > bad || end <= bad) fileCalls.read(descriptor, buffers, position, done)
        else done(Object.assign(new Error('EIO: as the test wants'), { code: 'EIO' }), 0)
      },
    }
    const { buffers, results } = await waiting(path, at(1, 2, 3), { calls })
    expect(results).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: { reason: 'io', errnoName: 'EIO' } },
      { status: 'fulfilled' },
    ])
    expect([buffers[0]?.[0], buffers[2]?.[0]]).toEqual([1, 3])
  })

  test('meet the end of a truncated file by themselves', async () => {
    const path = file('disk.img', numbered(4))
    const calls: FileCalls = {
      ...fileCalls,
      read: (descriptor, buffers, position, done) => {
        fs.truncateSync(path, 2 * LENGTH)
        fileCalls.read(descriptor, buffers, position, done)
      },
    }
    const { buffers, results } = await waiting(path, at(1, 2), { calls })
    expect(results).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: { reason: 'truncated' } },
    ])
    expect(buffers[0]).toEqual(new Uint8Array(LENGTH).fill(1))
  })

  test('are made again one buffer at a time where the file takes no more', async () => {
    const calls: FileCalls = {
      ...fileCalls,
      read: (descriptor, buffers, position, done) => {
        if (buffers.length === 1) fileCalls.read(descriptor, buffers, position, done)
        else done(Object.assign(new Error('EINVAL: as the test wants'), { code: 'EINVAL' }), 0)
      },
    }
    const { buffers } = await waiting(file('disk.img', numbered(4)), at(1, 2, 3), { calls })
    expect(buffers.map((buffer) => buffer[0])).toEqual([1, 2, 3])
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
