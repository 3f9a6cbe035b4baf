import assert from 'node:assert/strict'
import { LOCK_WRITE, type Mapping, windowPage, XmcError } from '@xmc/core'
import type { Hypervisor } from '@xmc/sim'
import type { ModelledGuest } from './guests.ts'
import { type ModelLock, pagesOf } from './model.ts'
import type { Operation } from './operations.ts'

/** What may come of an access that the model does not allow, or that a fault hits. */
const REFUSALS: ReadonlySet<string> = new Set([
  'ERR_XMC_PAGES_MISSING',
  'ERR_XMC_PAGED_OUT',
  'ERR_XMC_FOREIGN_MAP',
  'ERR_XMC_GRANT_MAP',
  'ERR_XMC_GRANT_COPY',
  'ERR_XMC_UNMAP_FAILED',
])

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
        const page = this.guest.page(operation.page)
        this.attempt(pagesOf(page, offset, length), write, () => {
          const at = cache.lock(page, offset, length, write ? LOCK_WRITE : 0)
          this.locked(at, page, offset, pagesOf(page, offset, length), write)
        })
        return
      }
      case 'lockAsync': {
        const { offset, length, write } = operation
        const page = this.guest.page(operation.page)
        const flags = write ? LOCK_WRITE : 0
        const result = await cache.lockAsync(page, offset, length, flags).then(
          (at) => () => this.locked(at, page, offset, pagesOf(page, offset, length), write),
          (error: unknown) => () => {
            throw error
          },
        )
        this.attempt(pagesOf(page, offset, length), write, result)
        return
      }
      case 'list': {
        const pages = operation.pages.map((nth) => this.guest.page(nth))
        this.attempt(pages, operation.write, () => {
          const mapping = cache.mapList(pages, { write: operation.write })
          const { windowPage: at } = mapping.pointer()
          const lock = this.locked(at, pages[0] ?? 0, 0, pages, operation.write)
          this.lists.set(lock, mapping)
        })
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
        await cache.invalidateAll()
        return
      case 'offer':
        this.guest.offer(operation.page, operation.count, operation.readonly)
        return
      case 'invalidate':
        await cache.invalidateAll()
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

  /** Does an access: it succeeds if the model allows it, unless a fault was armed. */
  private attempt(pages: readonly number[], write: boolean, access: () => void): void {
    const allowed = this.guest.model.allows(pages, write)
    try {
      access()
    } catch (error) {
      if (!(error instanceof XmcError)) throw error
      if (error.code === 'ERR_XMC_WINDOW_FULL' && this.guest.model.locks.length > 0) return
      assert.ok(REFUSALS.has(error.code), `${error.code}: ${error.message}`)
      assert.ok(!allowed || this.armed.value, `refused without reason: ${error.message}`)
      return
    }
    assert.ok(allowed, `pages ${pages.join(', ')} were served, write ${write}`)
  }

  private locked(
    at: number,
    page: number,
    offset: number,
    pages: readonly number[],
    write: boolean,
  ): ModelLock {
    const { model } = this.guest
    const lock = { page, offset, write, windowPage: at, pages, shows: model.memoryOf(pages) }
    model.locks.push(lock)
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
