import { windowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { createMemoryFile, openWindow, whileHeld } from '../src/index.ts'
import { bytesOf } from './helpers/pages.ts'

describe('mapAsync', () => {
  it('maps on another thread, in place', async () => {
    using window = openWindow({ pageCount: 8 })
    using file = createMemoryFile({ name: 'async', size: 8192 })
    file.write(4096, Uint8Array.of(7))
    await window.mapAsync(windowPage(3), 1, file.fd, 4096, true)
    expect(bytesOf(window, 3)[0]).toBe(7)
    bytesOf(window, 3)[1] = 9
    const seen = new Uint8Array(2)
    file.read(4096, seen)
    expect([...seen]).toEqual([7, 9])
    expect(window.mappedPages).toBe(1)
    window.reset(windowPage(3), 1)
    expect(window.mappedPages).toBe(0)
  })

  it('rejects with the errno of the other thread, and zeros are in place', async () => {
    using window = openWindow({ pageCount: 8 })
    bytesOf(window, 0, 8).fill(0xee)
    await expect(window.mapAsync(windowPage(1), 2, 1_000_000, 0, false)).rejects.toMatchObject({
      code: 'ERR_XMC_SYSTEM_CALL',
      call: 'mmap',
      errnoName: 'EBADF',
    })
    expect(bytesOf(window, 1, 2)).toEqual(new Uint8Array(8192))
    expect(bytesOf(window, 3)[0]).toBe(0xee)
    expect(window.mappedPages).toBe(0)
  })

  it('rejects an argument that is out of range, and changes nothing', async () => {
    using window = openWindow({ pageCount: 2 })
    await expect(window.mapAsync(windowPage(1), 2, 0, 0, true)).rejects.toMatchObject({
      code: 'ERR_XMC_ARGUMENT',
      field: 'pageCount',
    })
    await expect(window.mapAsync(windowPage(1), 1, -1, 0, true)).rejects.toMatchObject({
      field: 'fd',
    })
    expect(window.mappedPages).toBe(0)
  })

  it('keeps the window from being closed until it has ended', async () => {
    const window = openWindow({ pageCount: 8 })
    using file = createMemoryFile({ name: 'async', size: 4096 })
    file.write(0, Uint8Array.of(7))
    const mapped = window.mapAsync(windowPage(0), 1, file.fd, 0, true)
    expect(() => {
      window.close()
    }).toThrow(expect.objectContaining({ code: 'ERR_XMC_BUSY', calls: 1 }))
    await mapped
    expect(bytesOf(window, 0)[0]).toBe(7)
    window.close()
    expect(bytesOf(window, 0)[0]).toBe(0)
    expect(window.mappedPages).toBe(0)
  })

  it('keeps the window from being closed until it has ended, also when it fails', async () => {
    const window = openWindow({ pageCount: 8 })
    const mapped = window.mapAsync(windowPage(1), 2, 1_000_000, 0, false)
    expect(() => {
      window.close()
    }).toThrow(expect.objectContaining({ code: 'ERR_XMC_BUSY' }))
    await expect(mapped).rejects.toMatchObject({ errnoName: 'EBADF' })
    window.close()
  })
})

describe('hold', () => {
  it('keeps the window from being closed until letGo was called as often', () => {
    const window = openWindow({ pageCount: 8 })
    window.hold()
    window.hold()
    window.letGo()
    expect(() => {
      window.close()
    }).toThrow(expect.objectContaining({ code: 'ERR_XMC_BUSY', locks: 0, calls: 1 }))
    window.letGo()
    window.close()
    expect(() => {
      window.reset(windowPage(0), 1)
    }).toThrow(expect.objectContaining({ code: 'ERR_XMC_CLOSED' }))
  })
})

describe('whileHeld', () => {
  it('keeps the window from being closed until the call has settled, however it does', async () => {
    const window = openWindow({ pageCount: 8 })
    const calls: Promise<unknown>[] = [
      whileHeld(window, async () => Promise.resolve(7)),
      whileHeld(window, async () => Promise.reject(new Error('failed'))),
    ]
    expect(() => {
      window.close()
    }).toThrow(expect.objectContaining({ code: 'ERR_XMC_BUSY', calls: 2 }))
    expect(await Promise.allSettled(calls)).toMatchObject([
      { value: 7 },
      { reason: { message: 'failed' } },
    ])
    window.close()
  })
})
