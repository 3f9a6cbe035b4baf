import assert from 'node:assert/strict'
import { LOCK_WRITE, type MapBackend, MapCache } from '@xmc/core'
import { type HostWindow, isPageList } from '@xmc/interface'

// A guest of 256 pages, and a backend that copies its pages where a real one maps them.
const guest = new Uint8Array(256 * 4096)
const host = new Uint8Array(64 * 4096)
const window: HostWindow = {
  buffer: host.buffer,
  byteOffset: 0,
  pageCount: 64,
  reset: (page, count) => void host.fill(0, page * 4096, (page + count) * 4096),
}
const backend: MapBackend<number> = {
  kind: 'copying',
  window,
  bucketShift: 14, // 4 pages at a time
  access: 'read-write',
  pinned: false,
  page: (value) => value,
  mapAt(place, pages, _writable, errors) {
    const list = isPageList(pages) ? pages : errors.map((_, nth) => pages.first + nth)
    for (const [nth, page] of list.entries()) {
      errors[nth] = page < 256 ? 0 : 22 // EINVAL: the guest has no memory there
      host.set(guest.subarray(page * 4096, (page + 1) * 4096), (place + nth) * 4096)
    }
  },
  mapAtAsync: async (place, pages, writable, errors) =>
    backend.mapAt(place, pages, writable, errors),
  unmapAt: (place, count) => window.reset(place, count),
  unmapAtAsync: async (place, count) => backend.unmapAt(place, count),
}

guest.set([1, 2, 3, 4], 5 * 4096 + 0x10)
const cache = new MapCache({ backend })

// For people: a handle.
const mapping = cache.map(5, 0x10, 64, { write: true })
assert.equal(mapping.readUint32(0), 0x04030201)
assert.equal(mapping.address, 0x5010n)
mapping.release()

// For devices on the hot path: integers in and out.
const place = cache.lock(5, 0x10, 64, LOCK_WRITE)
assert.equal(cache.view.getUint32(place * 4096 + 0x10, true), 0x04030201)
assert.equal(cache.pageOf(place), 5)
cache.unlock(place, 0x10)

// Without a lock.
assert.equal(cache.loadUint16(5, 0x11), 0x0302)
assert.throws(() => cache.loadUint8(300, 0), { code: 'ERR_XMC_PAGES_MISSING' })

cache.close()
