import { constants } from 'node:os'
import { describe, expect, it } from 'vitest'
import { Device } from '../src/internal/device.ts'
import { ALLOCATE_GRANTS, FREE_GRANTS, GNTALLOC_PATH } from '../src/internal/gntalloc.ts'
import { SharedPages } from '../src/shared-pages.ts'
import { Kernel } from './helpers/kernel.ts'

const { ENOSPC } = constants.errno

describe('SharedPages', () => {
  it('are pages of gntalloc, mapped here, with a reference each', () => {
    const kernel = new Kernel()
    const device = new Device(kernel, GNTALLOC_PATH)
    using pages = new SharedPages(device, { to: 3, pageCount: 2 })
    expect(pages.references).toEqual([100, 101])
    expect([pages.bytes.length, pages.bytes[0], pages.bytes[4096]]).toEqual([8192, 1, 2])
    const [asked] = kernel.callsOf(ALLOCATE_GRANTS)
    expect(asked?.subarray(0, 8)).toEqual(Uint8Array.of(3, 0, 1, 0, 2, 0, 0, 0))
    expect(kernel.notForked.map(({ length }) => length)).toEqual([8192])
  })

  it('are ended by the kernel with their mapping, so that nothing is left of a process that is killed', () => {
    const kernel = new Kernel()
    const pages = new SharedPages(new Device(kernel, GNTALLOC_PATH), {
      to: 3,
      pageCount: 2,
      readonly: true,
    })
    expect(kernel.callsOf(ALLOCATE_GRANTS)[0]?.subarray(2, 4)).toEqual(Uint8Array.of(0, 0))
    expect(kernel.callsOf(FREE_GRANTS)).toHaveLength(1)
    pages.close()
    pages.close()
    expect(pages.bytes.every((byte) => byte === 0)).toBe(true)
    expect(kernel.callsOf(FREE_GRANTS)).toHaveLength(1)
  })

  it('over the limit are refused with the limit', () => {
    const kernel = new Kernel()
    kernel.answer(ALLOCATE_GRANTS, -ENOSPC)
    const device = new Device(kernel, GNTALLOC_PATH)
    expect(() => new SharedPages(device, { to: 0, pageCount: 1025 })).toThrow(
      expect.objectContaining({
        operation: 'share pages',
        errnoName: 'ENOSPC',
        message: expect.stringContaining('/sys/module/xen_gntalloc/parameters/limit'),
      }),
    )
  })

  it('that cannot be mapped are given back', () => {
    const kernel = new Kernel()
    kernel.mapsFail = true
    const device = new Device(kernel, GNTALLOC_PATH)
    expect(() => new SharedPages(device, { to: 0, pageCount: 2 })).toThrow('EBADF')
    expect(kernel.callsOf(FREE_GRANTS)).toEqual([
      Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0),
    ])
  })

  it.each([0, -1, 1.5, 65_537])('are no %d pages', (pageCount) => {
    const kernel = new Kernel()
    const device = new Device(kernel, GNTALLOC_PATH)
    expect(() => new SharedPages(device, { to: 0, pageCount })).toThrow('pageCount')
    expect(kernel.calls).toEqual([])
  })
})
