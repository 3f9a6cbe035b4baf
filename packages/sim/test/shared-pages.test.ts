import { openWindow } from '@xmc/hostmem'
import { windowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { Hypervisor } from '../src/index.ts'

describe('sharePages', () => {
  it('gives pages of zeros that the grantee maps by their references', () => {
    using hypervisor = new Hypervisor()
    using window = openWindow({ pageCount: 4 })
    const pages = hypervisor.sharePages({ to: 0, pageCount: 2 })
    expect(pages.bytes).toEqual(new Uint8Array(8192))
    expect(pages.references).toHaveLength(2)
    using table = hypervisor.grantTable()
    const { domain } = hypervisor.control.grants
    const { references } = pages
    table.map({ domain, window, windowPage: windowPage(1), references, writable: true })
    pages.bytes[4096] = 7
    const mapped = new Uint8Array(window.buffer, window.byteOffset + 4096, 8192)
    expect(mapped[4096]).toBe(7)
    mapped[1] = 9
    expect(pages.bytes[1]).toBe(9)
  })

  it('grants for reading alone where asked to', () => {
    using hypervisor = new Hypervisor()
    using window = openWindow({ pageCount: 4 })
    using pages = hypervisor.sharePages({ to: 0, pageCount: 1, readonly: true })
    using table = hypervisor.grantTable()
    const { domain } = hypervisor.control.grants
    const { references } = pages
    const request = { domain, window, windowPage: windowPage(0), references }
    expect(() => table.map({ ...request, writable: true })).toThrow('EINVAL')
    table.map({ ...request, writable: false })
  })

  it('takes grants and memory back at the close, and uses the frames again', () => {
    using hypervisor = new Hypervisor()
    const before = hypervisor.allocatedPages
    for (let turn = 0; turn < 100; turn++) {
      const pages = hypervisor.sharePages({ to: 0, pageCount: 3 })
      pages.bytes.fill(turn + 1)
      expect(hypervisor.allocatedPages).toBe(before + 3)
      pages.close()
      pages.close()
      expect(pages.bytes[0]).toBe(0)
    }
    expect(hypervisor.allocatedPages).toBe(before)
    expect(hypervisor.control.grants.takenCount).toBe(0)
  })

  it('leaves a page that is mapped to whoever maps it, and its reference mappable', () => {
    using hypervisor = new Hypervisor()
    using window = openWindow({ pageCount: 4 })
    const pages = hypervisor.sharePages({ to: 0, pageCount: 1 })
    using table = hypervisor.grantTable()
    const { domain } = hypervisor.control.grants
    const { references } = pages
    const request = { domain, window, references, writable: true }
    table.map({ ...request, windowPage: windowPage(0) })
    pages.close()
    table.map({ ...request, windowPage: windowPage(1) })
    new Uint8Array(window.buffer, window.byteOffset, 1)[0] = 5
    expect(new Uint8Array(window.buffer, window.byteOffset + 4096, 1)[0]).toBe(5)
  })

  it.each([0, -1, 1.5, 65_537])('refuses %d pages', (pageCount) => {
    using hypervisor = new Hypervisor()
    expect(() => hypervisor.sharePages({ to: 0, pageCount })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'pageCount' }),
    )
  })

  it('gives memory back when the grant table is full', () => {
    using hypervisor = new Hypervisor({ maximumGrantFrames: 1 })
    const before = hypervisor.allocatedPages
    expect(() => hypervisor.sharePages({ to: 0, pageCount: 600 })).toThrow('ENOSPC')
    expect(hypervisor.allocatedPages).toBe(before)
  })
})
