import assert from 'node:assert/strict'
import { type HostMemoryWindow, type MemoryAreaAccount, openWindow } from '@xmc/hostmem'
import type { WindowPage } from '@xmc/interface'
import { type Domain, Hypervisor, type HypervisorOptions } from '@xmc/sim'
import { describeCall, describeMapping } from './call-notation.ts'
import { populate } from './guest-contents.ts'
import { NotifierLog } from './notifier-log.ts'

/** Where a lock put its first byte. */
export interface Pointer {
  readonly windowPage: WindowPage
  readonly offset: number
}

/** How a world is made. */
export interface WorldOptions {
  readonly windowPages?: number | undefined
  readonly shared?: boolean | undefined
  /** The account of memory areas of its windows. */
  readonly areaAccount?: MemoryAreaAccount | undefined
  /** Memory areas that each of its windows may take. */
  readonly memoryAreas?: number | undefined
  readonly hypervisor?: HypervisorOptions | undefined
  readonly grantTableFrames?: number | undefined
}

/** What of a cache a world looks after. */
interface Closable {
  close(options: { readonly force: boolean }): void
}

/**
 * A hypervisor with one guest, which has no memory at first, and a window. When it is disposed of, its
 * caches are closed, and nothing may be left mapped, pinned or told to a listener.
 */
export class World {
  readonly hypervisor: Hypervisor
  readonly guest: Domain
  readonly window: HostMemoryWindow
  /** Hears the listeners' calls of the cache under test. */
  readonly notifier: NotifierLog = new NotifierLog()
  readonly #caches: Closable[] = []
  readonly #windows: HostMemoryWindow[] = []
  readonly #options: WorldOptions

  constructor(options: WorldOptions = {}) {
    this.#options = options
    const { windowPages = 16_384, shared = false, grantTableFrames } = options
    this.hypervisor = new Hypervisor({ seed: 1, recordCalls: true, ...options.hypervisor })
    this.guest = this.hypervisor.createDomain({ memoryBytes: 0, grantTableFrames })
    this.window = this.open(windowPages, shared)
  }

  /** Gives the guest memory with contents of its own, see `contents`. */
  populate(frame: number, count = 256): void {
    populate(this.guest, frame, count)
  }

  /** `length` bytes of the guest's memory as the guest sees them. */
  guestBytes(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    this.guest.memory.read(address, bytes)
    return bytes
  }

  /** A copy of the window's bytes behind a pointer. */
  bytesAt(pointer: Pointer, length: number): Uint8Array {
    const { buffer, byteOffset } = this.window
    const start = byteOffset + pointer.windowPage * 4096 + pointer.offset
    return new Uint8Array(buffer, start, length).slice()
  }

  /** A view of the window at `distance` bytes from a pointer. */
  viewAt(pointer: Pointer, distance = 0): DataView {
    const { buffer, byteOffset } = this.window
    return new DataView(buffer, byteOffset + pointer.windowPage * 4096 + pointer.offset + distance)
  }

  /** The calls at the ports since the last look, as `fm(0x0,256)`. */
  calls(): string[] {
    return this.hypervisor.accounting.log.splice(0).map(describeCall)
  }

  /** What is mapped, the oldest first, as `(0x0,256)`. */
  mapped(): string[] {
    return this.hypervisor.accounting.mappings().map(describeMapping)
  }

  /** Where the only mapping there is starts in the window. */
  onlyMapping(): Pointer {
    const [mapping, ...others] = this.hypervisor.accounting.mappings()
    assert.ok(mapping !== undefined && others.length === 0, 'there is one mapping')
    return { windowPage: mapping.windowPage, offset: 0 }
  }

  /** What the listeners of the cache under test were told since the last look, as `add(256)`. */
  notified(): string[] {
    return this.notifier.take()
  }

  /** Opens a further window; it is closed with the world. */
  open(pageCount: number, shared = false): HostMemoryWindow {
    const { areaAccount, memoryAreas } = this.#options
    const window = openWindow({ pageCount, shared, areaAccount, memoryAreas })
    this.#windows.push(window)
    return window
  }

  /** Has a cache closed with the world. */
  closeAtEnd(cache: Closable): void {
    this.#caches.push(cache)
  }

  [Symbol.dispose](): void {
    for (const cache of this.#caches) cache.close({ force: true })
    const leftovers = this.hypervisor.accounting.leftovers()
    this.hypervisor.close()
    for (const window of this.#windows) window.close()
    assert.deepEqual(leftovers, [], 'nothing is left mapped')
    assert.equal(this.notifier.present, 0, 'every listener was told of every removal')
  }
}
