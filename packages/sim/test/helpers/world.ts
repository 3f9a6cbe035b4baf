import { type HostMemoryWindow, openWindow } from '@xmc/hostmem'
import {
  type DomainId,
  domainId,
  type GrantReference,
  grantReference,
  guestFrame,
  type Pages,
  SystemCallError,
  windowPage,
} from '@xmc/interface'
import {
  type Domain,
  type ForeignDevice,
  type GrantDevice,
  Hypervisor,
  type HypervisorOptions,
} from '../../src/index.ts'

/** First frame of the guest's 4 MiB, and its guest address. */
export const RAM = 0x40000
export const RAM_ADDRESS: number = RAM * 4096

/** How one foreign map differs from a writable one of the guest at window page 0, with an error array. */
export interface ForeignOptions {
  readonly at?: number
  readonly writable?: boolean
  readonly domain?: number
  readonly errors?: Int32Array | null
}

/** How one grant map differs from a writable one of the guest's grants at window page 0. */
export interface GrantOptions {
  readonly at?: number
  readonly writable?: boolean
  readonly domain?: number
}

/** A hypervisor with a guest of 4 MiB, a window of 1,024 pages, and the control domain's devices. */
export class World {
  readonly hypervisor: Hypervisor
  readonly guest: Domain
  readonly window: HostMemoryWindow
  readonly foreign: ForeignDevice
  readonly grants: GrantDevice
  /** The window. */
  readonly view: DataView

  constructor(options: HypervisorOptions = {}) {
    this.hypervisor = new Hypervisor({ seed: 1, ...options })
    this.guest = this.hypervisor.createDomain({ memoryBytes: 4 * 2 ** 20 })
    this.window = openWindow({ pageCount: 1024 })
    this.foreign = this.hypervisor.foreignMemory()
    this.grants = this.hypervisor.grantTable()
    this.view = new DataView(this.window.buffer, this.window.byteOffset, 1024 * 4096)
  }

  /** Maps guest frames, as plain numbers; returns the errors. */
  mapFrames(frames: Pages<number>, options: ForeignOptions = {}): number[] {
    const errors =
      options.errors === undefined ? new Int32Array(1024) : (options.errors ?? undefined)
    this.foreign.map(this.foreignRequest(frames, { ...options, errors: errors ?? null }))
    return [...(errors?.subarray(0, 'count' in frames ? frames.count : frames.length) ?? [])]
  }

  foreignRequest(
    frames: Pages<number>,
    { at = 0, writable = true, domain = 1, errors = null }: ForeignOptions = {},
  ): Parameters<ForeignDevice['map']>[0] {
    return {
      domain: anyDomain(domain),
      window: this.window,
      windowPage: windowPage(at),
      frames: pages(frames, guestFrame),
      writable,
      errors: errors ?? undefined,
    }
  }

  /** Maps grant references, as plain numbers. */
  mapReferences(references: Pages<number>, options: GrantOptions = {}): void {
    this.grants.map(this.grantRequest(references, options))
  }

  grantRequest(
    references: Pages<number>,
    { at = 0, writable = true, domain = 1 }: GrantOptions = {},
  ): Parameters<GrantDevice['map']>[0] {
    return {
      domain: anyDomain(domain),
      window: this.window,
      windowPage: windowPage(at),
      references: pages(references, grantReference),
      writable,
    }
  }

  /** Grants frames of the guest to the control domain. */
  share(frames: Pages<number>, readonly = false): GrantReference[] {
    return this.guest.grants.share(frames, { to: 0, readonly })
  }

  unmapForeign(at: number, pageCount: number): void {
    this.foreign.unmap(this.window, windowPage(at), pageCount)
  }

  unmapGrants(at: number, pageCount: number): void {
    this.grants.unmap(this.window, windowPage(at), pageCount)
  }

  /** The first 32 bits of a window page. */
  read(at: number): number {
    return this.view.getUint32(at * 4096, true)
  }

  /** Sets the first 32 bits of a window page. */
  write(at: number, value: number): void {
    this.view.setUint32(at * 4096, value, true)
  }

  /** Sets the first 32 bits of a frame of the guest, by the guest. */
  guestWrite(frame: number, value: number): void {
    this.guest.memory.writeUint32(frame * 4096, value)
  }

  /** The first 32 bits of a frame of the guest, as the guest sees them. */
  guestRead(frame: number): number {
    return this.guest.memory.readUint32(frame * 4096)
  }

  [Symbol.dispose](): void {
    this.hypervisor.close()
    this.window.close()
  }
}

/** The name of the errno that `call` throws with; fails for any other error, and for none. */
export function errnoOf(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    if (error instanceof SystemCallError) return error.errnoName
    throw error
  }
  return 'none'
}

/** As `errnoOf`, for a promise. */
export async function rejectedErrno(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof SystemCallError) return error.errnoName
    throw error
  }
  return 'none'
}

function pages<Page extends number>(
  plain: Pages<number>,
  check: (value: number) => Page,
): Pages<Page> {
  return 'count' in plain
    ? { first: check(plain.first), count: plain.count }
    : plain.map((value) => check(value))
}

/** A domain id, or a reserved one such as `DOMID_SELF`, which only a careless caller gives. */
function anyDomain(value: number): DomainId {
  return isAnyDomain(value) ? value : domainId(value)
}

function isAnyDomain(value: number): value is DomainId {
  return value >= 0 && value <= 0xffff
}
