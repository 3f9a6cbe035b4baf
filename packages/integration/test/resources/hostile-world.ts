import { PassThrough, Writable } from 'node:stream'
import type { Addressing } from '@xmc/arm-virt'
import { transportAddress } from '@xmc/arm-virt'
import {
  type Buffer,
  HostileGuest,
  type HostileQueue,
  RAM,
  RequestEnds,
  SlowDisk,
} from '@xmc/bench/hostile'
import { XmcError } from '@xmc/interface'
import {
  BlockDevice,
  ConsoleDevice,
  EntropyDevice,
  MemoryDisk,
  VIRTIO_MMIO_STATUS,
  VIRTIO_STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_STATUS_DRIVER_OK,
} from '@xmc/virtio'
import {
  type BufferChoice,
  DATA_PAGES,
  GIVEN_PAGES,
  type Place,
  QUEUE_SIZE,
  QUEUES,
  type Step,
} from './steps.ts'

const DATA = RAM + 0x100_0000
const DATA_FRAME = DATA / 4096
const READ_ONLY_PAGES = 64
const READ_ONLY = DATA - READ_ONLY_PAGES * 4096
const TABLES = RAM + 0x80_0000

/** How the board of a world is made. */
export interface WorldOptions {
  readonly addressing: Addressing
  readonly mapping: 'synchronous' | 'asynchronous'
}

/** A board with devices of several kinds, and a guest that does what it is told, with no rule kept. */
export class HostileWorld {
  readonly guest: HostileGuest
  /** How often the owner of board and disks was told of something. */
  reports = 0
  readonly #queues = new Map<string, HostileQueue>()
  readonly #ends: RequestEnds
  readonly #data: bigint
  readonly #readOnly: bigint
  readonly #given = new Set<number>()

  constructor(options: WorldOptions) {
    const onError = (): void => {
      this.reports += 1
    }
    const input = new PassThrough()
    input.write(new Uint8Array(4096))
    // Slow, so that what is transmitted piles up; not stuck, so that a reset comes to an end.
    const output = new Writable({ write: (_chunk, _encoding, done) => void setTimeout(done, 1) })
    this.guest = HostileGuest.open({
      ...options,
      memoryBytes: 64 * 2 ** 20,
      devices: [
        new BlockDevice({ disk: new MemoryDisk(2 ** 20), onError }),
        new BlockDevice({ disk: new SlowDisk(2), onError }),
        new ConsoleDevice({ output, input }),
        new EntropyDevice(),
      ],
      onFault: onError,
    })
    this.#ends = new RequestEnds(this.guest)
    this.#data = this.guest.share(DATA, DATA_PAGES)
    this.#readOnly = this.guest.share(READ_ONLY, READ_ONLY_PAGES, true)
  }

  /**
   * Areas into which what the guest has given back divides its own view of its memory, which the simulator shows in this
   * process. They are counted, but what a guest gives back cannot be refused.
   */
  get divisions(): number {
    return 2 * this.#given.size
  }

  /**
   * Lets the guest do a step. Resolves when its processor may go on.
   *
   * @throws what is no fault of the guest's own
   */
  async apply(step: Step): Promise<void> {
    try {
      await this.#apply(step)
    } catch (error) {
      // The guest has touched a page that it had given back.
      if (!(error instanceof XmcError && error.code === 'ERR_XMC_GUEST_ADDRESS')) throw error
    }
  }

  async #apply(step: Step): Promise<void> {
    const { guest } = this
    switch (step.do) {
      case 'store':
        await guest.store(step)
        break
      case 'set up':
        await this.#setUp(step.slot)
        break
      case 'reset':
        await guest.store({ slot: step.slot, offset: VIRTIO_MMIO_STATUS, value: 0 })
        break
      case 'request':
        await this.#request(step)
        break
      case 'give back':
        this.#giveBack(step.first, step.count, step.every)
        break
      case 'take again':
        for (const frame of this.#given) guest.hypervisor.guest.populate(frame, 1)
        this.#given.clear()
        break
      case 'invalidate':
        await guest.hypervisor.guest.ioreq.broadcastInvalidate()
        break
      case 'wait':
        break
    }
  }

  #works(slot: number): boolean {
    const status = this.guest.board?.transports[slot]?.status ?? 0
    const bits = VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_DEVICE_NEEDS_RESET
    return (status & bits) === VIRTIO_STATUS_DRIVER_OK
  }

  async #setUp(slot: number): Promise<void> {
    await this.guest.negotiate(slot)
    for (let index = 0; index < QUEUES; index++) await this.#queue(slot, index).makeReady()
    await this.guest.start(slot)
  }

  async #request(step: Extract<Step, { readonly do: 'request' }>): Promise<void> {
    const { slot, queue: index, asBlock, times } = step
    // A guest that keeps to a device that has stopped harms nobody.
    if (!this.#works(slot)) await this.#setUp(slot)
    const queue = this.#queue(slot, index)
    const data = step.buffers.map((choice) => this.#buffer(choice, slot, index))
    const chain = asBlock === 'no' ? data : this.#ends[asBlock](data)
    if (step.indirect) queue.indirect(0, this.#tableAt(slot, index), chain)
    else queue.chain(0, chain)
    if (step.loops) queue.raw(chain.length - 1, 0n, 1, 1, 0)
    queue.offer(Array.from({ length: times }, () => 0))
    await queue.notify()
  }

  #giveBack(first: number, count: number, every: number): void {
    for (let page = first; page < Math.min(first + count, GIVEN_PAGES); page += every) {
      const frame = DATA_FRAME + page
      if (this.#given.has(frame)) continue
      this.guest.hypervisor.guest.depopulate(frame, 1)
      this.#given.add(frame)
    }
  }

  #buffer({ place, offset, length, write }: BufferChoice, slot: number, index: number): Buffer {
    return { address: this.#address(place, slot, index) + BigInt(offset), length, write }
  }

  #address(place: Place, slot: number, index: number): bigint {
    switch (place.kind) {
      case 'data':
        return this.#data + BigInt(place.page) * 4096n
      case 'read-only':
        return this.#readOnly + BigInt(place.page) * 4096n
      case 'nowhere':
        return this.guest.nowhere(place.index)
      case 'registers':
        return transportAddress(place.slot)
      case 'queue':
        return BigInt(this.#place(slot, index))
      case 'any':
        // With its offset it has to be an address.
        return place.address & ~4095n
    }
  }

  #queue(slot: number, index: number): HostileQueue {
    const key = `${slot}/${index}`
    const known = this.#queues.get(key)
    if (known !== undefined) return known
    const at = this.#place(slot, index)
    const queue = this.guest.layOut({ slot, index, size: QUEUE_SIZE, at })
    this.#queues.set(key, queue)
    return queue
  }

  #place(slot: number, index: number): number {
    return RAM + (slot * QUEUES + index) * 0x1_0000
  }

  #tableAt(slot: number, index: number): number {
    return TABLES + (slot * QUEUES + index) * 8192
  }

  /** Ends the guest. @throws LeftoversError when something of it is still mapped */
  async close(): Promise<void> {
    await this.guest.close()
  }
}
