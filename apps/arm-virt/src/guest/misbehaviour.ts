import { setImmediate as turn } from 'node:timers/promises'
import {
  type GuestFrame,
  grantReference,
  InvalidArgumentError,
  XEN_GRANT_ADDRESS_OFFSET,
} from '@xmc/interface'
import type { Disk } from '@xmc/virtio'
import type { BlockDriver, DmaDirection, DmaMapper } from '@xmc/virtio/driver'
import type { DiskMachine } from '../machine.ts'

/**
 * What a guest can do wrong with requests under way:
 *
 * - `resets`: it resets the device;
 * - `dies`: it is destroyed;
 * - `revokes`: it ends a grant that it has handed out;
 * - `garbage`: it writes nonsense into the ring.
 */
export type Misbehaviour = 'resets' | 'dies' | 'revokes' | 'garbage'

/** Every {@link Misbehaviour}. */
export const MISBEHAVIOURS: readonly Misbehaviour[] = ['resets', 'dies', 'revokes', 'garbage']

/** Bytes of each request. */
const REQUEST_BYTES = 64 * 1024

/** Requests that are under way when it happens. */
const REQUESTS = 32

/** Half of all 16-bit numbers: an available index this far ahead is beyond any queue. */
const FAR_AHEAD = 0x8000

/**
 * A disk whose reads wait until they are let through: what the guest does meanwhile, it does while the
 * device has its memory mapped, and the data arrives there afterwards.
 */
export class HeldDisk implements Disk {
  readonly size: number
  readonly readOnly: boolean
  readonly identity: string
  readonly #disk: Disk
  readonly #reached: Promise<void>
  readonly #released: Promise<void>
  #reads = 0
  #reach: () => void = () => {}
  #release: () => void = () => {}

  constructor(disk: Disk) {
    this.size = disk.size
    this.readOnly = disk.readOnly
    this.identity = disk.identity
    this.#disk = disk
    this.#reached = new Promise((resolve) => {
      this.#reach = resolve
    })
    this.#released = new Promise((resolve) => {
      this.#release = resolve
    })
  }

  /** Resolves when all reads of a misbehaving guest wait: the board takes as many in a turn as it likes. */
  reached(): Promise<void> {
    return this.#reached
  }

  /** Lets all reads through, now and later. */
  release(): void {
    this.#release()
  }

  async read(buffers: readonly Uint8Array[], position: number): Promise<void> {
    this.#reads++
    if (this.#reads === REQUESTS) this.#reach()
    await this.#released
    await this.#disk.read(buffers, position)
  }

  write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return this.#disk.write(buffers, position)
  }

  flush(): Promise<void> {
    return this.#disk.flush()
  }
}

/**
 * A guest's driver for slot 0 that can misbehave. With `revokes` it hands out grants that it ends.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for `revokes` without grants
 */
export function misbehavingDriver(machine: DiskMachine, kind: Misbehaviour): BlockDriver {
  if (kind !== 'revokes') return machine.driver(0)
  if (machine.configuration.addressing !== 'grants') {
    const expected = 'grants, since a guest without them has none to revoke'
    throw new InvalidArgumentError('addressing', expected, machine.configuration.addressing)
  }
  const dma = new RevokingDma(machine.guest.dma(), machine)
  return machine.guest.blockDriver(0, {}, dma)
}

/**
 * Puts many reads of the disk in slot 0, `disk`, under way, misbehaves, and waits until all of them have
 * ended.
 *
 * @throws what the first read ended with that did not succeed
 */
export async function misbehave(
  machine: DiskMachine,
  disk: HeldDisk,
  driver: BlockDriver,
  kind: Misbehaviour,
): Promise<void> {
  const sectors = Math.min(REQUEST_BYTES / 512, driver.configuration.capacity)
  const buffers = Array.from({ length: REQUESTS }, () => driver.allocateBuffer(sectors * 512))
  try {
    const reads = Promise.allSettled(buffers.map((buffer) => driver.read(0, buffer)))
    // Buffers whose grants have ended cannot be mapped, so that their requests do not get there.
    if (kind !== 'revokes') await disk.reached()
    const done = doWrong(machine, driver, kind)
    // The guest's processor is held at its notification until the reads have ended, so that nothing awaits that.
    if (kind === 'garbage') await faulted(machine)
    disk.release()
    await done
    for (const result of await reads) {
      if (result.status === 'rejected') throw result.reason
    }
  } finally {
    disk.release()
    for (const buffer of buffers) buffer.release()
  }
}

async function doWrong(
  machine: DiskMachine,
  driver: BlockDriver,
  kind: Misbehaviour,
): Promise<void> {
  if (kind === 'resets') await driver.reset()
  else if (kind === 'dies') machine.hypervisor.guest.destroy()
  else if (kind === 'garbage') await scribble(driver)
}

/** Writes what no driver may write into the ring, and notifies the device. */
async function scribble(driver: BlockDriver): Promise<void> {
  const ring = driver.queue?.ring
  if (ring === undefined) return
  ring.descriptors.fill(0xa5)
  ring.availableIndex += FAR_AHEAD
  await driver.transport.notify(0)
}

/** Resolves when the device in slot 0 has stopped after a fault. */
async function faulted(machine: DiskMachine): Promise<void> {
  const [transport] = machine.board.transports
  if (transport === undefined || transport.fault !== undefined) return
  await turn()
  await faulted(machine)
}

/** Ends the grants of every buffer for data as soon as the device has its address. */
class RevokingDma implements DmaMapper {
  readonly needsAccessPlatform = true
  readonly #dma: DmaMapper
  readonly #machine: DiskMachine

  constructor(dma: DmaMapper, machine: DiskMachine) {
    this.#dma = dma
    this.#machine = machine
  }

  get broken(): boolean {
    return this.#dma.broken
  }

  map(frame: GuestFrame, offset: number, length: number, direction: DmaDirection): number {
    const page = this.#dma.map(frame, offset, length, direction)
    const { grants } = this.#machine.hypervisor.guest
    if (page >= 0 && length >= 512) {
      grants.end(grantReference(page - Number(XEN_GRANT_ADDRESS_OFFSET >> 12n)))
    }
    return page
  }

  unmap(page: number, offset: number, length: number): boolean {
    return this.#dma.unmap(page, offset, length)
  }

  allocateCoherent(frame: GuestFrame, count: number): number {
    return this.#dma.allocateCoherent(frame, count)
  }

  freeCoherent(page: number, count: number): boolean {
    return this.#dma.freeCoherent(page, count)
  }
}
