import assert from 'node:assert/strict'
import { LOCK_WRITE, type Mapping } from '@xmc/core'
import { windowPage, XmcError } from '@xmc/interface'
import type { Hypervisor } from '@xmc/sim'
import type { ModelledGuest } from './guests.ts'
import { canBeFull, type ModelLock, pagesOf } from './model.ts'
import type { Access, Operation } from './operations.ts'

/** What may come of an access that the model does not allow, or that a fault hits. */
const REFUSALS: ReadonlySet<string> = new Set([
  'ERR_XMC_PAGES_MISSING',
  'ERR_XMC_PAGED_OUT',
  'ERR_XMC_FOREIGN_MAP',
  'ERR_XMC_GRANT_MAP',
  'ERR_XMC_GRANT_COPY',
  // A mapping for reading, made to explain a refusal, could not be removed at once.
  'ERR_XMC_GRANT_UNMAP',
  'ERR_XMC_UNMAP_FAILED',
])

/** Pages of the longest request that the operations make. */
const LONGEST_REQUEST = 12

/** Whether a fault was armed for the step under way; one for all caches of a hypervisor. */
export interface Armed {
  value: boolean
}

/** Runs one sequence against a guest and its model, comparing after every step. */
export class SequenceRunner {
  private readonly hypervisor: Hypervisor
  private readonly guest: ModelledGuest
  private readonly lists: Map<ModelLock, Mapping> = new Map()
  private readonly armed: Armed

  constructor(hypervisor: Hypervisor, guest: ModelledGuest, armed: Armed) {
    this.hypervisor = hypervisor
    this.armed = armed
    this.guest = guest
  }

  /** Does one step and checks everything that is observable after it. */
  async step(operation: Operation): Promise<void> {
    await this.apply(operation)
    if (operation.kind !== 'fault' && this.armed.value) {
      this.armed.value = false
      this.hypervisor.faults.clear()
    }
    this.check()
  }

  /** Gives every lock back and closes the cache: then nothing may be mapped. */
  finish(): void {
    this.hypervisor.faults.clear()
    for (const lock of this.guest.model.locks.slice()) this.unlock(lock)
    this.check()
    assert.equal(this.guest.cache.statistics.locks, 0)
    this.guest.cache.close()
  }

  private async apply(operation: Operation): Promise<void> {
    const { cache, model } = this.guest
    switch (operation.kind) {
      case 'lock': {
        const { offset, length, write } = operation
        const { asked, pages } = this.pagesOfAccess(operation)
        this.attempt(pages, write, () => {
          const at = cache.lock(asked, offset, length, write ? LOCK_WRITE : 0)
          this.locked(at, offset, pages, write)
        })
        return
      }
      case 'lockAsync': {
        const { offset, length, write } = operation
        const { asked, pages } = this.pagesOfAccess(operation)
        const flags = write ? LOCK_WRITE : 0
        const result = await cache.lockAsync(asked, offset, length, flags).then(
          (at) => () => this.locked(at, offset, pages, write),
          (error: unknown) => () => {
            throw error
          },
        )
        this.attempt(pages, write, result)
        return
      }
      case 'list': {
        const pages = operation.pages.map((nth) => this.guest.page(nth))
        this.attempt(pages, operation.write, () => {
          const mapping = cache.mapList(pages, { write: operation.write })
          const { windowPage: at } = mapping.pointer()
          const lock = this.locked(at, 0, pages, operation.write)
          this.lists.set(lock, mapping)
        })
        return
      }
      case 'dummy':
        this.lockDummy(operation.bucket, operation.count, operation.write)
        return
      case 'replace': {
        const lock = model.locks[operation.nth % Math.max(1, model.locks.length)]
        if (lock !== undefined && !this.lists.has(lock)) this.replace(lock, operation.bucket)
        return
      }
      case 'storeThrough': {
        const lock = model.locks[operation.nth % Math.max(1, model.locks.length)]
        const [memory] = lock?.shows ?? []
        // What a dummy loses with its last lock is not modelled: it stays zeros.
        if (lock === undefined || memory === undefined || !lock.write || lock.dummy) return
        cache.view.setUint32(lock.windowPage * 4096, operation.value, true)
        memory.value = operation.value
        return
      }
      case 'unlock': {
        const lock = model.locks[operation.nth % Math.max(1, model.locks.length)]
        if (lock === undefined) return
        if (!operation.later || this.lists.has(lock)) this.unlock(lock)
        else await this.unlockLater(lock)
        return
      }
      case 'unlockUnknown': {
        const { offset } = operation
        if (model.locksAt(operation.windowPage, offset) > 0) return
        const unlock = (): void => cache.unlock(windowPage(operation.windowPage), offset)
        assert.throws(unlock, { code: 'ERR_XMC_NOT_LOCKED' })
        return
      }
      case 'load': {
        const page = this.guest.page(operation.page)
        this.attempt([page], false, () => {
          assert.equal(cache.loadUint32(page, 0), model.memoryOf([page])[0]?.value)
        })
        return
      }
      case 'store': {
        const page = this.guest.page(operation.page)
        this.attempt([page], true, () => {
          cache.storeUint32(page, 0, operation.value)
          for (const memory of model.memoryOf([page])) memory.value = operation.value
        })
        return
      }
      case 'read': {
        const page = this.guest.page(operation.page)
        const pages = pagesOf(page, 0, operation.count * 4096)
        const bytes = new Uint8Array(operation.count * 4096)
        this.attempt(pages, false, () => {
          cache.read(page, 0, bytes)
          const view = new DataView(bytes.buffer)
          const seen = pages.map((_, nth) => view.getUint32(nth * 4096, true))
          assert.deepEqual(
            seen,
            model.memoryOf(pages).map((memory) => memory.value),
          )
        })
        return
      }
      case 'guestWrite': {
        const page = this.guest.page(operation.page)
        const state = model.pages.get(page)
        if (state === undefined) return
        this.guest.write(page, operation.value)
        state.memory.value = operation.value
        return
      }
      case 'withdraw':
        this.guest.withdraw(operation.page, operation.count)
        // Xen tells the device model whenever a guest gives memory away.
        await this.invalidate()
        return
      case 'offer':
        this.guest.offer(operation.page, operation.count, operation.readonly)
        return
      case 'invalidate':
        await this.invalidate()
        return
      case 'flush':
        cache.flush()
        return
      case 'fault': {
        const { sites } = this.guest
        const site = operation.site === 'unmap' ? sites.unmap : sites.map
        const pages = { seed: operation.nth, probability: 0.3 }
        this.hypervisor.faults.fail({
          site,
          nth: operation.nth,
          ...(operation.site === 'pages' ? { pages } : {}),
        })
        this.armed.value = true
      }
    }
  }

  /** The page that an access asks for, and the pages that it is to get. */
  private pagesOfAccess(access: Access): { asked: number; pages: number[] } {
    const page = this.guest.page(access.page)
    const alias = access.alias ? this.guest.alias(access.page) : undefined
    return { asked: alias ?? page, pages: pagesOf(page, access.offset, access.length) }
  }

  /** Locks memory that has not arrived. */
  private lockDummy(bucket: number, count: number, write: boolean): void {
    const { cache } = this.guest
    const page = this.guest.arriving(bucket)
    if (page === undefined) return
    const pages = pagesOf(page, 0, count * 4096)
    const lock = (): void => {
      const at = cache.lock(page, 0, count * 4096, write ? LOCK_WRITE : 0)
      const shows = pages.map(() => ({ value: 0 }))
      this.add({ offset: 0, write, windowPage: at, pages, shows, dummy: true, hidden: false })
    }
    // Not while no guest arrives; a dummy that is left from before may still serve.
    cache.guestArriving = true
    try {
      this.attempt(pages, write, lock, true)
    } finally {
      cache.guestArriving = false
    }
  }

  /** Puts a bucket of the guest in the place of the one that a lock is in. */
  private replace(lock: ModelLock, bucket: number): void {
    const { cache, model, pagesPerBucket } = this.guest
    const from = Math.floor((lock.pages[0] ?? 0) / pagesPerBucket) * pagesPerBucket
    const to = this.guest.page(bucket * pagesPerBucket)
    if (this.guest.arriving(0) === undefined) {
      assert.throws(() => cache.replace(from, to, pagesPerBucket), { code: 'ERR_XMC_REFUSED' })
      return
    }
    // A lock on a page that is missing would show whatever arrives there later: not modelled.
    const target = pagesOf(to, 0, pagesPerBucket * 4096)
    if (!model.allows(target, true)) return
    this.hypervisor.faults.clear()
    try {
      cache.replace(from, to, pagesPerBucket)
    } catch (error) {
      if (!(error instanceof XmcError)) throw error
      assert.equal(error.code, 'ERR_XMC_NOT_MAPPED')
      // A longer mapping may serve the lock, or one that was invalidated: but not a dummy's first.
      assert.ok(!lock.dummy || lock.hidden, error.message)
      return
    }
    // Every mapping of the bucket is replaced, whole or not at all; locks say which theirs is.
    for (const other of model.locks) {
      if (this.lists.has(other)) continue
      if (cache.pageOf(windowPage(other.windowPage)) === other.pages[0]) continue
      assert.ok(other.pages.every((page) => page >= from && page < from + pagesPerBucket))
      other.pages = other.pages.map((page) => page - from + to)
      other.shows = model.memoryOf(other.pages)
      other.dummy = false
    }
    assert.ok(lock.hidden || !lock.dummy, 'a dummy was not replaced')
  }

  private async invalidate(): Promise<void> {
    await this.guest.cache.invalidateAll()
    for (const lock of this.guest.model.locks) lock.hidden = true
  }

  /** Does an access: it succeeds if the model allows it, unless a fault was armed. */
  private attempt(
    pages: readonly number[],
    write: boolean,
    access: () => void,
    allowed: boolean = this.guest.model.allows(pages, write),
  ): void {
    try {
      access()
    } catch (error) {
      if (!(error instanceof XmcError)) throw error
      if (error.code === 'ERR_XMC_WINDOW_FULL') {
        assert.ok(this.canBeFull(pages), `there is room: ${error.message}`)
        return
      }
      assert.ok(REFUSALS.has(error.code), `${error.code}: ${error.message}`)
      assert.ok(!allowed || this.armed.value, `refused without reason: ${error.message}`)
      return
    }
    assert.ok(allowed, `pages ${pages.join(', ')} were served, write ${write}`)
  }

  /** Whether the locks may leave no room for a run or list of pages, which need not be aligned. */
  private canBeFull(pages: readonly number[]): boolean {
    const { cache, model, windowPages, pagesPerBucket } = this.guest
    const slotsFor = (count: number): number =>
      Math.floor((count + 2 * pagesPerBucket - 2) / pagesPerBucket)
    return canBeFull(model.locks, {
      windowPages,
      pagesPerSlot: pagesPerBucket,
      slots: slotsFor(pages.length),
      lostPages: cache.statistics.lostPages,
      longestMapping: slotsFor(LONGEST_REQUEST),
    })
  }

  private locked(at: number, offset: number, pages: readonly number[], write: boolean): ModelLock {
    const shows = this.guest.model.memoryOf(pages)
    return this.add({ offset, write, windowPage: at, pages, shows, dummy: false, hidden: false })
  }

  private add(lock: ModelLock): ModelLock {
    this.guest.model.locks.push(lock)
    return lock
  }

  private unlock(lock: ModelLock): void {
    const mapping = this.lists.get(lock)
    this.drop(lock)
    try {
      if (mapping === undefined) this.guest.cache.unlock(windowPage(lock.windowPage), lock.offset)
      else mapping.release()
    } catch (error) {
      this.assertUnmapFault(error)
    }
  }

  private async unlockLater(lock: ModelLock): Promise<void> {
    this.drop(lock)
    try {
      await this.guest.cache.unlockAsync(windowPage(lock.windowPage), lock.offset)
    } catch (error) {
      this.assertUnmapFault(error)
    }
  }

  private drop(lock: ModelLock): void {
    const { locks } = this.guest.model
    locks.splice(locks.indexOf(lock), 1)
    this.lists.delete(lock)
  }

  private assertUnmapFault(error: unknown): void {
    if (!(error instanceof XmcError)) throw error
    assert.equal(error.code, 'ERR_XMC_UNMAP_FAILED')
    assert.ok(this.armed.value, error.message)
  }

  /** Every lock shows its memory under its address, and the guest sees what the model says. */
  private check(): void {
    const { cache, model } = this.guest
    for (const lock of model.locks) {
      lock.pages.forEach((page, nth) => {
        const at = windowPage(lock.windowPage + nth)
        assert.equal(cache.pageOf(at), page)
        const seen = cache.view.getUint32(at * 4096, true)
        assert.equal(seen, lock.shows[nth]?.value, `page ${page} through window page ${at}`)
      })
    }
    for (const [page, { memory }] of model.pages) assert.equal(this.guest.read(page), memory.value)
    assert.equal(cache.statistics.locks, model.locks.length)
  }
}
