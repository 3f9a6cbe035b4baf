import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Disk, FileDisk, MemoryDisk } from '../src/index.ts'

/** A disk of 16 sectors, sector n filled with n, and what changes its size. */
interface Provided {
  readonly disk: Disk
  readonly resize: (size: number) => void
  readonly close: () => Promise<void>
}

let folder = ''

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'xmc-virtio-'))
})

afterEach(() => {
  fs.rmSync(folder, { recursive: true })
})

/** The numbers from `first` to `last`. */
function from(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

function content(): Uint8Array {
  return Uint8Array.from({ length: 16 * 512 }, (_, at) => Math.floor(at / 512))
}

async function fileDisk(options: Parameters<typeof FileDisk.open>[1]): Promise<Provided> {
  const path = join(folder, 'disk.img')
  fs.writeFileSync(path, content())
  const disk = await FileDisk.open(path, options)
  return { disk, resize: (size) => fs.truncateSync(path, size), close: () => disk.close() }
}

const providers: readonly (readonly [string, () => Promise<Provided>])[] = [
  [
    'MemoryDisk',
    async () => {
      const disk = new MemoryDisk(content())
      return { disk, resize: (size) => disk.resize(size), close: async () => undefined }
    },
  ],
  ['FileDisk', () => fileDisk({})],
  [
    'FileDisk without quick reads, a call at a time',
    () => fileDisk({ quickReads: false, callsInFlight: 1 }),
  ],
  [
    'FileDisk that cannot deallocate',
    () =>
      fileDisk({
        deallocate: () => Promise.reject(Object.assign(new Error(), { code: 'ENOSYS' })),
      }),
  ],
]

describe.each(providers)('what every disk does: %s', (_, provide) => {
  let provided: Provided

  beforeEach(async () => {
    provided = await provide()
  })

  afterEach(() => provided.close())

  /** The first byte of each sector. */
  async function sectors(): Promise<number[]> {
    const { disk } = provided
    const bytes = new Uint8Array(disk.size)
    await disk.read([bytes], 0)
    return Array.from({ length: disk.size / 512 }, (_each, sector) => bytes[512 * sector] ?? -1)
  }

  test('reads and writes whole sectors, in pieces of any length', async () => {
    const { disk } = provided
    const pieces = [new Uint8Array(100), new Uint8Array(924)]
    await disk.read(pieces, 3 * 512)
    expect([pieces[0]?.[0], pieces[0]?.[99], pieces[1]?.[0], pieces[1]?.[923]]).toEqual([
      3, 3, 3, 4,
    ])
    await disk.write([new Uint8Array(1).fill(99), new Uint8Array(511)], 5 * 512)
    expect(await sectors()).toEqual([...from(0, 4), 99, ...from(6, 15)])
  })

  test('zeros are zeros, whether space may be given back or not; a discard leaves the neighbours', async () => {
    const { disk } = provided
    await disk.writeZeroes?.(2 * 512, 512, true)
    await disk.writeZeroes?.(4 * 512, 1024, false)
    await disk.discard?.(8 * 512, 1024)
    await disk.flush()
    const seen = await sectors()
    expect([...seen.slice(0, 8), ...seen.slice(10)]).toEqual([
      0,
      1,
      0,
      3,
      0,
      0,
      6,
      7,
      ...from(10, 15),
    ])
  })

  test('refuses what reaches over the end, of every kind of request, and goes on', async () => {
    const { disk } = provided
    const two = new Uint8Array(1024)
    const refused = { code: 'ERR_XMC_DISK', reason: 'range' }
    await expect(disk.read([two], 15 * 512)).rejects.toMatchObject(refused)
    await expect(disk.write([two], 15 * 512)).rejects.toMatchObject(refused)
    await expect(disk.writeZeroes?.(15 * 512, 1024, true)).rejects.toMatchObject(refused)
    await expect(disk.discard?.(15 * 512, 1024) ?? Promise.reject(refused)).rejects.toMatchObject(
      refused,
    )
    expect(await sectors()).toEqual(from(0, 15))
  })

  test('takes another size, longer and shorter, when it is to look', async () => {
    const { disk, resize } = provided
    resize(20 * 512)
    disk.refresh?.()
    expect(disk.size).toBe(20 * 512)
    expect(await sectors()).toEqual([...from(0, 15), 0, 0, 0, 0])
    resize(4 * 512)
    disk.refresh?.()
    expect(await sectors()).toEqual(from(0, 3))
    await expect(disk.read([new Uint8Array(512)], 4 * 512)).rejects.toMatchObject({
      reason: 'range',
    })
    await disk.flush()
  })

  test('works on many requests at a time', async () => {
    const { disk } = provided
    const buffers = from(0, 15).map(() => new Uint8Array(512))
    await Promise.all(buffers.map((buffer, sector) => disk.read([buffer], 512 * sector)))
    expect(buffers.map((buffer) => buffer[511])).toEqual(from(0, 15))
    await Promise.all([
      ...from(0, 7).map((sector) => disk.write([new Uint8Array(512).fill(200)], 512 * sector)),
      disk.flush(),
      disk.flush(),
    ])
    expect(await sectors()).toEqual([...from(0, 7).map(() => 200), ...from(8, 15)])
  })
})
