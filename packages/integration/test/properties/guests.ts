import type { CacheStatistics, InvalidationReport, MapOptions, Mapping, Retention } from '@xmc/core'
import { createForeignCache } from '@xmc/foreign'
import { createGrantCache } from '@xmc/grants'
import { openWindow } from '@xmc/hostmem'
import {
  domainId as foreignDomain,
  domainId as grantDomain,
  grantReference,
  type WindowPage,
} from '@xmc/interface'
import type { Domain, Hypervisor } from '@xmc/sim'
import { GuestModel } from './model.ts'

/** First frame of the guests' memory. */
const RAM_BASE = 0x40000

/** First frame of addresses that hold nothing, and are translated to the guest's frames. */
const ALIAS_BASE = RAM_BASE + 4096

/** First frame of memory that has not arrived. */
const ARRIVING_BASE = RAM_BASE + 8192

/** So few that locks can fill them. */
const FOREIGN_WINDOW_PAGES = 96
const GRANT_WINDOW_PAGES = 64

const PAGES_PER_BUCKET = 8

/** What the sequences use of a cache, whatever its pages are. */
interface TestedCache {
  readonly view: DataView
  readonly statistics: CacheStatistics
  guestArriving: boolean
  lock(page: number, offset: number, length: number, flags: number): WindowPage
  lockAsync(page: number, offset: number, length: number, flags: number): Promise<WindowPage>
  unlock(windowPage: WindowPage, offset: number): void
  unlockAsync(windowPage: WindowPage, offset: number): Promise<void>
  pageOf(windowPage: WindowPage): number
  mapList(pages: readonly number[], options: MapOptions): Mapping
  loadUint32(page: number, offset: number): number
  storeUint32(page: number, offset: number, value: number): void
  read(page: number, offset: number, target: Uint8Array): void
  replace(oldPage: number, newPage: number, pageCount: number): WindowPage
  invalidateAll(): Promise<InvalidationReport>
  flush(): number
  close(): void
}

/** A cache over a guest of the simulator, what the guest can do to its pages, and the model of both. */
export interface ModelledGuest {
  readonly cache: TestedCache
  readonly model: GuestModel
  readonly sites: {
    readonly map: 'foreign.map' | 'grant.map'
    readonly unmap: 'foreign.unmap' | 'grant.unmap'
  }
  readonly windowPages: number
  readonly pagesPerBucket: number
  /** The cache's page for page `nth` of the test. */
  page(nth: number): number
  /** An address that is translated to page `nth`; undefined where nothing is translated. */
  alias(nth: number): number | undefined
  /** First page of bucket `nth` of memory that has not arrived; undefined where nothing arrives. */
  arriving(nth: number): number | undefined
  /** Makes the pages available, where they are not. */
  offer(nth: number, count: number, readonly: boolean): void
  /** Takes the pages away, where nobody prevents it. */
  withdraw(nth: number, count: number): void
  /** The guest writes the first 4 bytes of a page of its own. */
  write(page: number, value: number): void
  /** The guest's own first 4 bytes of a page. */
  read(page: number): number
  close(): void
}

/** A guest whose memory is mapped by frame, in buckets of 8 pages. */
export function foreignGuest(
  hypervisor: Hypervisor,
  retention: Retention,
  access: 'read-write' | 'as-requested',
): ModelledGuest {
  const domain = hypervisor.createDomain({ memoryBytes: 64 * 4096, ramBase: RAM_BASE })
  const window = openWindow({ pageCount: FOREIGN_WINDOW_PAGES })
  const model = new GuestModel()
  const cache = createForeignCache({
    memory: hypervisor.foreignMemory(),
    domain: foreignDomain(domain.id),
    window,
    bucketShift: 15,
    access,
    retention,
    translate: (page) =>
      page >= ALIAS_BASE && page < ALIAS_BASE + 64 ? page - ALIAS_BASE + RAM_BASE : undefined,
    quarantineBytes: 65_536,
  })
  const present = (frame: number): void => {
    const value = 0xf000_0000 + frame
    domain.memory.writeUint32(frame * 4096, value)
    model.pages.set(frame, { memory: { value }, readable: true, writable: true })
  }
  for (let nth = 0; nth < 64; nth++) present(RAM_BASE + nth)
  return {
    cache,
    model,
    sites: { map: 'foreign.map', unmap: 'foreign.unmap' },
    windowPages: FOREIGN_WINDOW_PAGES,
    pagesPerBucket: PAGES_PER_BUCKET,
    page: (nth) => RAM_BASE + nth,
    alias: (nth) => ALIAS_BASE + nth,
    arriving: (nth) => ARRIVING_BASE + nth * PAGES_PER_BUCKET,
    offer(nth, count) {
      for (
        let frame = RAM_BASE + nth;
        frame < Math.min(RAM_BASE + nth + count, RAM_BASE + 64);
        frame++
      ) {
        if (model.pages.has(frame)) continue
        domain.populate(frame)
        present(frame)
      }
    },
    withdraw(nth, count) {
      for (
        let frame = RAM_BASE + nth;
        frame < Math.min(RAM_BASE + nth + count, RAM_BASE + 64);
        frame++
      ) {
        if (!model.pages.has(frame)) continue
        domain.depopulate(frame)
        model.pages.delete(frame)
      }
    },
    ...ownMemory(domain, (frame) => frame),
    close: () => window.close(),
  }
}

/** A guest that grants its pages: reference 8 + n is frame n of its memory. */
export function grantingGuest(
  hypervisor: Hypervisor,
  persistent: { maximumPages: number; idleMilliseconds: number } | undefined,
): ModelledGuest {
  const domain = hypervisor.createDomain({ memoryBytes: 64 * 4096, ramBase: RAM_BASE })
  const window = openWindow({ pageCount: GRANT_WINDOW_PAGES })
  const model = new GuestModel()
  const cache = createGrantCache({
    table: hypervisor.grantTable(),
    domain: grantDomain(domain.id),
    window,
    persistent,
    quarantineBytes: 65_536,
  })
  const allow = (reference: number, readonly: boolean): void => {
    const frame = RAM_BASE + reference - 8
    domain.grants.allow(reference, { to: 0, frame, readonly })
    const value = 0xe000_0000 + reference
    domain.memory.writeUint32(frame * 4096, value)
    model.pages.set(reference, { memory: { value }, readable: true, writable: !readonly })
  }
  for (let nth = 0; nth < 64; nth++) allow(8 + nth, nth % 5 === 4)
  return {
    cache,
    model,
    sites: { map: 'grant.map', unmap: 'grant.unmap' },
    windowPages: GRANT_WINDOW_PAGES,
    pagesPerBucket: 1,
    page: (nth) => 8 + nth,
    alias: () => undefined,
    arriving: () => undefined,
    offer(nth, count, readonly) {
      for (let reference = 8 + nth; reference < Math.min(8 + nth + count, 72); reference++) {
        if (!model.pages.has(reference)) allow(reference, readonly)
      }
    },
    withdraw(nth, count) {
      for (let reference = 8 + nth; reference < Math.min(8 + nth + count, 72); reference++) {
        // The hypervisor refuses while somebody has the grant mapped.
        if (model.pages.has(reference) && domain.grants.end(grantReference(reference)))
          model.pages.delete(reference)
      }
    },
    ...ownMemory(domain, (reference) => RAM_BASE + reference - 8),
    close: () => window.close(),
  }
}

function ownMemory(
  domain: Domain,
  frameOf: (page: number) => number,
): { write(page: number, value: number): void; read(page: number): number } {
  return {
    write: (page, value) => domain.memory.writeUint32(frameOf(page) * 4096, value),
    read: (page) => domain.memory.readUint32(frameOf(page) * 4096),
  }
}
