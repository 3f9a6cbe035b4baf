import { LOCK_WRITE } from '@xmc/core'
import { windowPage as toWindowPage } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { MODES, STRICT } from '../helpers/modes.ts'
import { frame, MuseumWorld } from './museum-world.ts'

const OLD = 0x40000
const NEW = 0xf0000
const PAGES = 4096

describe('M8 a dummy that is replaced after the guest has arrived', () => {
  it.each(MODES)(
    'has the new address and is unmapped with it, %s mode (S41–S43)',
    (_mode, { retention }) => {
      using world = new MuseumWorld()
      const cache = world.foreignCache({ pageCount: 3 * PAGES, bucketShift: 20, retention })
      cache.addRamListener(world.notifier)
      cache.guestArriving = true
      const length = PAGES * 4096
      const windowPage = cache.lock(frame(OLD), 0, length, LOCK_WRITE)
      const last = toWindowPage(windowPage + PAGES - 1)
      expect(cache.view.getUint32(last * 4096, true)).toBe(0)
      expect(world.notified().at(-1)).toBe('add(4096)')

      world.guest.populate(NEW, PAGES)
      world.guestWrite(NEW, 0xf1257)
      world.guestWrite(NEW + PAGES - 1, 0x1a57)
      expect(cache.replace(frame(OLD), frame(NEW), PAGES)).toBe(windowPage)
      cache.guestArriving = false
      expect(cache.view.getUint32(windowPage * 4096, true)).toBe(0xf1257)
      expect(cache.view.getUint32(last * 4096, true)).toBe(0x1a57)
      expect([windowPage, last].map((page) => cache.pageOf(page))).toEqual([NEW, NEW + PAGES - 1])
      expect(cache.statistics.locks).toBe(1)
      expect(world.notified()).toEqual([])

      // A request for the new address finds it, one for the old address does not.
      world.calls()
      expect(cache.lock(frame(NEW), 0, length, 0)).toBe(windowPage)
      expect(world.calls()).toEqual([])
      expect(() => cache.lock(frame(OLD), 0, length, 0)).toThrow(failure('ERR_XMC_PAGES_MISSING'))
      cache.flush()
      world.notified()
      cache.unlock(windowPage, 0)
      cache.unlock(windowPage, 0)
      cache.flush()
      expect(world.notified()).toEqual(['remove(4096)'])
      expect(world.mapped()).toEqual([])
      expect(() => cache.pageOf(windowPage)).toThrow(failure('ERR_XMC_NOT_LOCKED'))
    },
  )

  it('is unmapped with the last lock of its handle', () => {
    using world = new MuseumWorld()
    const cache = world.foreignCache(STRICT)
    cache.guestArriving = true
    const mapping = cache.map(frame(OLD), 0x10, 4, { write: true })
    world.guest.populate(NEW, 16)
    cache.replace(frame(OLD), frame(NEW), 1)
    mapping.writeUint32(0, 0x600d)
    expect(world.guest.memory.readUint32(NEW * 4096 + 0x10)).toBe(0x600d)
    world.calls()
    expect(mapping.address).toBe(BigInt(NEW * 4096 + 0x10))
    mapping.release()
    expect(world.calls()).toEqual(['um(16)'])
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })
})
