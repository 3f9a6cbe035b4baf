import { createForeignCache } from '@xmc/foreign'
import { createGrantCache } from '@xmc/grants'
import { openWindow } from '@xmc/hostmem'
import { domainId, guestFrame } from '@xmc/interface'
import { Hypervisor } from '@xmc/sim'
import { describe, expect, it } from 'vitest'
import { failure } from './helpers/failure.ts'

const FRAME = guestFrame(0x40000)

describe('a cache that is closed while calls are under way', () => {
  it('keeps its window until a map has ended: no other cache is mapped over', async () => {
    using hypervisor = new Hypervisor()
    const guest = hypervisor.createDomain({ memoryBytes: 16 * 4096 })
    const window = openWindow({ pageCount: 16 })
    const options = {
      memory: hypervisor.foreignMemory(),
      domain: domainId(guest.id),
      window,
      bucketShift: 12,
    }
    const first = createForeignCache(options)
    const request = first.mapAsync(FRAME, 0, 64, { write: true }).catch((error: unknown) => error)
    first.close()
    expect(() => createForeignCache(options)).toThrow(failure('ERR_XMC_REFUSED'))
    expect(() => window.close()).toThrow(failure('ERR_XMC_BUSY', { locks: 0 }))
    await first.closeAsync()
    expect(await request).toMatchObject({ code: 'ERR_XMC_CLOSED' })
    const second = createForeignCache(options)
    const mapping = second.map(FRAME, 0, 64, { write: true })
    mapping.writeUint32(4, 0x7777)
    expect(guest.memory.readUint32(0x40000 * 4096 + 4)).toBe(0x7777)
    await second.closeAsync({ force: true })
    window.close()
    expect(hypervisor.accounting.leftovers()).toEqual([])
  })

  it('gives a grant back at the next close when its release failed after the first', async () => {
    using hypervisor = new Hypervisor()
    const guest = hypervisor.createDomain({ memoryBytes: 16 * 4096 })
    using window = openWindow({ pageCount: 16 })
    const [reference = -1] = guest.grants.share([0x40000], { to: 0 })
    const cache = createGrantCache({
      table: hypervisor.grantTable(),
      domain: domainId(guest.id),
      window,
    })
    const released = cache.map(cache.backend.page(reference), 0, 64).releaseAsync()
    const outcome = released.catch((error: unknown) => error)
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    hypervisor.faults.fail({ site: 'grant.unmap', errno: 'ENOMEM' })
    cache.close()
    expect(await outcome).toMatchObject({ code: 'ERR_XMC_UNMAP_FAILED' })
    expect(cache.statistics.lostPages).toBe(1)
    expect(hypervisor.accounting.totals().mappings).toBe(1)
    cache.close()
    expect(cache.statistics.lostPages).toBe(0)
    expect(hypervisor.accounting.totals().mappings).toBe(0)
  })
})
