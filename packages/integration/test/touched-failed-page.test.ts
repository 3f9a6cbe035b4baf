import { createForeignCache } from '@xmc/foreign'
import { openWindow } from '@xmc/hostmem'
import { domainId, guestFrame } from '@xmc/interface'
import { Hypervisor } from '@xmc/sim'
import { describe, expect, it } from 'vitest'
import { failure } from './helpers/failure.ts'

describe('a store past the cache, to a page whose map failed', () => {
  it('fails the unmap, and nothing stays mapped', () => {
    using hypervisor = new Hypervisor()
    const guest = hypervisor.createDomain({ memoryBytes: 16 * 4096 })
    guest.depopulate(0x40001)
    using window = openWindow({ pageCount: 64 })
    const cache = createForeignCache({
      memory: hypervisor.foreignMemory(),
      domain: domainId(guest.id),
      window,
      bucketShift: 15,
      retention: { kind: 'at-once' },
    })
    const at = cache.lock(guestFrame(0x40000), 0, 4096, 0)
    expect(() => cache.lock(guestFrame(0x40001), 0, 1, 0)).toThrow(failure('ERR_XMC_PAGES_MISSING'))
    cache.view.setUint8((at + 1) * 4096, 1)
    expect(() => cache.unlock(at, 0)).toThrow(
      failure('ERR_XMC_UNMAP_FAILED', {
        cause: failure('ERR_XMC_FOREIGN_UNMAP', {
          cause: failure('ERR_XMC_FAILED_PAGE_TOUCHED', { frame: 0x40001, windowPage: at + 1 }),
        }),
      }),
    )
    expect(cache.statistics).toMatchObject({ unmapFailures: 1, lostPages: 8 })
    // The bucket that was mapped for the second request, and that nobody locked; and another try for the first.
    expect(cache.flush()).toBe(1)
    expect(hypervisor.accounting.totals()).toMatchObject({ mappings: 0, mappedPages: 0 })
    expect(cache.statistics).toMatchObject({ unmapFailures: 1, lostPages: 0 })
    cache.close()
    expect(hypervisor.accounting.leftovers()).toEqual([
      `touched page: window page ${at + 1}, where frame 0x40001 of domain 1 failed to map (EINVAL), by domain 0 through foreign`,
    ])
  })
})
