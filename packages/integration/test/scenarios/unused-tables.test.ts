import { createGrantCache } from '@xmc/grants'
import { domainId } from '@xmc/interface'
import { expect, test } from 'vitest'
import { arrayBufferBytes } from '../helpers/array-buffer-bytes.ts'
import { World } from '../helpers/world.ts'

// In a file, and with it a process, of its own: what earlier tests left would be collected meanwhile.
test('S91 a cache of grants that is not used allocates no large tables', async () => {
  using world = new World()
  // As large as it is by default: 256 MiB.
  const window = world.open(65_536)
  const table = world.hypervisor.grantTable()
  const before = await arrayBufferBytes()
  const cache = createGrantCache({ table, domain: domainId(world.guest.id), window })
  const grown = (await arrayBufferBytes()) - before
  expect(cache.statistics.entries).toBe(0)
  expect(grown).toBeGreaterThan(2 ** 20)
  expect(grown).toBeLessThan(2 ** 24)
})
