import { ClosedError, SystemCallError, windowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import {
  checkTarget,
  createMemoryFile,
  errorAfterReset,
  openWindow,
  resetUnlessClosed,
} from '../src/index.ts'
import { bytesOf } from './helpers/pages.ts'

describe('checkTarget', () => {
  it('takes pages up to the end of the window, and no more', () => {
    using window = openWindow({ pageCount: 4 })
    expect(() => checkTarget(window, 1, 3)).not.toThrow()
    expect(() => checkTarget(window, 1, 4)).toThrow('at most 3 pages')
    expect(() => checkTarget(window, -1, 1)).toThrow('windowPage')
  })
})

describe('errorAfterReset', () => {
  it('puts anonymous pages back and returns the error', () => {
    using window = openWindow({ pageCount: 4 })
    bytesOf(window, 1, 2).fill(0xee)
    const error = new SystemCallError('map', 22, 'refused')
    expect(errorAfterReset(error, window, 1, 2)).toBe(error)
    expect(bytesOf(window, 1, 2)).toEqual(new Uint8Array(8192))
  })

  it('returns an error that has both as its cause when the reset fails', () => {
    const window = openWindow({ pageCount: 4 })
    window.close()
    const error = new SystemCallError('map', 22, 'refused')
    const returned = errorAfterReset(error, window, 1, 2)
    expect(returned).toMatchObject({ code: 'ERR_XMC_SYSTEM_CALL', errnoName: 'EIO' })
    expect(returned).toHaveProperty('cause.errors', [error, expect.any(ClosedError)])
  })
})

describe('resetUnlessClosed', () => {
  it('resets the pages of a mapping, and does nothing in a window that was closed', () => {
    const window = openWindow({ pageCount: 4 })
    using file = createMemoryFile({ name: 'target', size: 4096 })
    window.map(windowPage(2), 1, file.fd, 0, true)
    resetUnlessClosed({ window, windowPage: 2, pageCount: 1 })
    expect(window.mappedPages).toBe(0)
    window.close()
    expect(() => resetUnlessClosed({ window, windowPage: 2, pageCount: 1 })).not.toThrow()
  })
})
