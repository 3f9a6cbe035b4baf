import type { InvalidationReport, MapCache } from '@xmc/core'
import { createForeignCache, type ForeignBackend } from '@xmc/foreign'
import { createGrantCache, type GrantBackend } from '@xmc/grants'
import { type HostMemoryWindow, openWindow, type WindowSizeReason } from '@xmc/hostmem'
import {
  type GrantReference,
  type GuestFrame,
  InvalidArgumentError,
  XEN_GRANT_ADDRESS_OFFSET,
} from '@xmc/interface'
import { AddressSpace, AliasRegion, ContainerRegion, XenMemory } from '@xmc/memory-region'
import {
  GUEST_RAM0_BASE,
  GUEST_RAM0_SIZE,
  GUEST_RAM1_BASE,
  GUEST_RAM1_SIZE,
} from './address-map.ts'
import type { BoardConfiguration } from './configuration.ts'
import { RamPlaceError } from './errors.ts'
import type { Hypervisor } from './hypervisor.ts'

/** What became of a window of host memory. */
export interface WindowReport {
  /** What it is for. */
  readonly cache: 'foreign' | 'grants'
  /** Bytes that were asked for. */
  readonly requestedBytes: number
  /** Bytes that it has: fewer where the address space or the kernel has no more. */
  readonly bytes: number
  /** Why it has this size. */
  readonly reason: WindowSizeReason
}

/**
 * The guest's memory on the board: a window and a cache for foreign memory, a window and a cache for
 * grants, and the regions over them.
 */
export class BoardMemory {
  /** Cache of the guest's RAM, by frame. Stays warm under its budget. */
  readonly foreign: MapCache<GuestFrame, ForeignBackend>
  /** Cache of what the guest granted, by reference. Each grant is unmapped with its last use. */
  readonly grants: MapCache<GrantReference, GrantBackend>
  /** `xen.ram` and `xen.grants`. */
  readonly regions: XenMemory
  /** Root of the map that the guest's processors see: memory, and what the board adds. */
  readonly system: ContainerRegion
  /**
   * What devices reach: memory and nothing else, so that no address that a guest hands out leads a
   * device to registers, its own among them. Each device is a user of it, with its share of the windows; its write
   * listeners hear of everything that devices store.
   */
  readonly dma: AddressSpace
  /** The windows, and how large they came out. */
  readonly windows: readonly WindowReport[]
  readonly #opened: readonly HostMemoryWindow[]

  /**
   * @throws RamPlaceError `ERR_XMC_RAM_PLACE`: the guest has RAM outside the address map
   * @throws WindowAllocationError `ERR_XMC_WINDOW_ALLOCATION`: there is not even room for small windows
   */
  static open(configuration: BoardConfiguration, hypervisor: Hypervisor): BoardMemory {
    for (const { address, size } of hypervisor.ram) checkBank(hypervisor, address, size)
    const foreign = openWindow({ bytes: configuration.foreignWindowBytes })
    try {
      const grants = openWindow({ bytes: configuration.grantWindowBytes })
      try {
        return new BoardMemory(configuration, hypervisor, foreign, grants)
      } catch (error) {
        grants.close()
        throw error
      }
    } catch (error) {
      foreign.close()
      throw error
    }
  }

  private constructor(
    configuration: BoardConfiguration,
    hypervisor: Hypervisor,
    foreignWindow: HostMemoryWindow,
    grantWindow: HostMemoryWindow,
  ) {
    const { domain, ram } = hypervisor
    const { foreignBudgetBytes: budgetBytes } = configuration
    this.foreign = createForeignCache({
      memory: hypervisor.foreign,
      domain,
      window: foreignWindow,
      retention: budgetBytes === 0 ? { kind: 'at-once' } : { kind: 'keep', budgetBytes },
    })
    this.grants = createGrantCache({ table: hypervisor.grants, domain, window: grantWindow })
    this.regions = new XenMemory({
      memory: this.foreign,
      banks: ram,
      grants: this.grants,
      grantFrames: configuration.grantFrames,
    })
    this.system = new ContainerRegion({ name: 'system' })
    this.regions.addTo(this.system)
    this.dma = new AddressSpace({
      name: 'dma',
      root: dmaMap(this.regions),
      bounceBudget: 0,
      guaranteedShare: configuration.guaranteedShare,
    })
    this.#opened = [foreignWindow, grantWindow]
    this.windows = [report('foreign', foreignWindow), report('grants', grantWindow)]
  }

  /** Drops foreign mappings that nobody uses, and hides the others from new requests; grants stay. */
  invalidate(): Promise<InvalidationReport> {
    return this.foreign.invalidateAll()
  }

  /** Calls that map or unmap in the windows now. */
  get callsUnderWay(): number {
    return this.foreign.statistics.callsUnderWay + this.grants.statistics.callsUnderWay
  }

  /**
   * Unmaps everything, and closes caches and windows. Calls under way must have ended: see `closeAsync`.
   *
   * @throws BusyError `ERR_XMC_BUSY`: a device still has mappings, and nothing was done; or a call is under way,
   * and a window stays open
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`: something may still be mapped
   */
  close(): void {
    this.dma.close()
    const errors: unknown[] = []
    for (const part of [this.foreign, this.grants, ...this.#opened]) {
      try {
        part.close()
      } catch (error) {
        errors.push(error)
      }
    }
    throwAll(errors)
  }

  /**
   * As `close`, and waits for calls under way before it closes the windows.
   *
   * @throws as `close`
   */
  async closeAsync(): Promise<void> {
    this.dma.close()
    const caches = await Promise.allSettled([this.foreign.closeAsync(), this.grants.closeAsync()])
    const errors: unknown[] = caches.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason] : [],
    )
    for (const window of this.#opened) {
      try {
        window.close()
      } catch (error) {
        errors.push(error)
      }
    }
    throwAll(errors)
  }
}

function throwAll(errors: readonly unknown[]): void {
  if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors)
}

function dmaMap(regions: XenMemory): ContainerRegion {
  const map = new ContainerRegion({ name: 'dma' })
  for (const { name, size, offset, target } of regions.banks) {
    map.add(new AliasRegion({ name, size, offset, target }), offset)
  }
  const { grants } = regions
  if (grants !== undefined) {
    const { name, size } = grants
    map.add(new AliasRegion({ name, size, target: grants }), XEN_GRANT_ADDRESS_OFFSET)
  }
  return map
}

function checkBank({ domain }: Hypervisor, address: bigint, size: bigint): void {
  const inside = (base: bigint, bytes: bigint): boolean =>
    address >= base && address + size <= base + bytes
  if (size <= 0n) throw new InvalidArgumentError('ram', 'banks of at least a page', size)
  if (inside(GUEST_RAM0_BASE, GUEST_RAM0_SIZE) || inside(GUEST_RAM1_BASE, GUEST_RAM1_SIZE)) return
  throw new RamPlaceError(domain, address, size)
}

function report(cache: 'foreign' | 'grants', window: HostMemoryWindow): WindowReport {
  return {
    cache,
    requestedBytes: window.requestedPages * 4096,
    bytes: window.pageCount * 4096,
    reason: window.reason,
  }
}
