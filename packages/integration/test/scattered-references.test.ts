import { createGrantCache } from '@xmc/grants'
import { openWindow } from '@xmc/hostmem'
import { domainId, grantReference } from '@xmc/interface'
import { Hypervisor } from '@xmc/sim'
import { expect, it } from 'vitest'

it('a map of 1,000 scattered references is one call at the port, and one to unmap', () => {
  const xen = new Hypervisor({ recordCalls: true })
  const guest = xen.createDomain({ memoryBytes: 8 * 2 ** 20 })
  const frames = Array.from({ length: 1000 }, (_, nth) => 0x40000 + ((nth * 7) % 1000))
  const shared = guest.grants.share(frames, { to: 0 })
  const references = shared.toReversed().map((number) => grantReference(number))
  const window = openWindow({ bytes: 2 ** 24 })
  const grants = createGrantCache({ table: xen.grantTable(), domain: domainId(guest.id), window })

  const mapping = grants.mapList(references, { write: true })
  frames.toReversed().forEach((frame, nth) => {
    guest.memory.writeUint32(frame * 4096 + 8, frame)
    expect(mapping.readUint32(nth * 4096 + 8)).toBe(frame)
  })
  expect(grants.pageOf(grants.pointerOf(mapping.bytes.subarray(5 * 4096)).windowPage)).toBe(
    references[5],
  )
  mapping.release()

  const calls = xen.accounting.log.map(({ site, pageCount }) => `${site} ${pageCount}`)
  expect(calls.filter((call) => call.startsWith('grant.'))).toEqual([
    'grant.map 1000',
    'grant.unmap 1000',
  ])
  grants.close()
  window.close()
  expect(xen.accounting.leftovers()).toEqual([])
  xen.close()
})
