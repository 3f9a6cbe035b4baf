import type { AddressSpace } from '@xmc/memory-region'
import type { EventChannel, IoreqServer } from './hypervisor.ts'
import { IOREQ_TYPE_COPY, IOREQ_TYPE_INVALIDATE, type IoRequest, IoreqPage } from './ioreq-page.ts'

/** What a dispatcher needs of the board. None of the calls throws. */
export interface DispatcherHost {
  /** What the guest's processors see. */
  readonly space: AddressSpace
  /** Drops what is mapped of the guest's RAM. */
  invalidate(): Promise<void>
  /** After a request: what the processor that made it has to wait for, if anything, of what it has just done. */
  settle(): Promise<void> | undefined
  /** An access that no device took, or an invalidation that failed. */
  report(error: unknown): void
}

/** Counts since a dispatcher was made. */
export interface DispatcherStatistics {
  /** Reads of the guest that were answered. */
  readonly reads: number
  /** Writes of the guest that were done. */
  readonly writes: number
  /** Invalidations that were done. */
  readonly invalidations: number
  /** Requests after which the guest's processor had to wait for a device to let go of memory. */
  readonly held: number
  /** Requests that no device takes: reads gave all ones, writes had no effect. */
  readonly ignored: number
}

/** Most repetitions of a request: as many bytes as a page, which is what Xen splits at. */
const MAXIMUM_COUNT = 4096

/**
 * Answers the guest's accesses to memory-mapped I/O: takes requests out of an ioreq server's page,
 * performs them on an address space, and signals the virtual CPU. Nothing the guest does makes it throw.
 */
export class IoreqDispatcher {
  readonly #server: IoreqServer
  readonly #host: DispatcherHost
  readonly #page: IoreqPage
  readonly #channels: EventChannel[] = []
  #closed = false
  /** Virtual CPUs whose slot was looked at. */
  readonly #seen = new Set<number>()
  readonly #counts = { reads: 0, writes: 0, invalidations: 0, held: 0, ignored: 0 }

  constructor(server: IoreqServer, host: DispatcherHost) {
    this.#server = server
    this.#host = host
    this.#page = new IoreqPage(server.page)
  }

  /** A snapshot of the counts. */
  get statistics(): DispatcherStatistics {
    return { ...this.#counts }
  }

  /**
   * Binds the event channels of `virtualCpus` virtual CPUs and lets requests come.
   *
   * @throws what the hypervisor refuses with; `close` undoes what was done
   */
  start(virtualCpus: number): void {
    for (let virtualCpu = 0; virtualCpu < virtualCpus; virtualCpu++) {
      this.#channels.push(this.#server.bind(virtualCpu, () => this.#serve(virtualCpu)))
    }
    this.#server.enable()
  }

  /** Closes the event channels and destroys the server; guests that wait get no answer. */
  close(): void {
    this.#closed = true
    for (const channel of this.#channels.splice(0)) channel.close()
    this.#server.close()
  }

  #serve(virtualCpu: number): void {
    // What is in process before the first look was taken by a device model that is no more.
    const request = this.#page.take(virtualCpu, !this.#seen.has(virtualCpu))
    this.#seen.add(virtualCpu)
    if (request === undefined) return
    let wait: Promise<void> | undefined
    try {
      wait = this.#perform(virtualCpu, request)
    } catch (error) {
      this.#counts.ignored += 1
      if (request.read) this.#setData(virtualCpu, 0xffff_ffff, 0xffff_ffff)
      this.#host.report(error)
      // Some of its stores may have been done.
      wait = this.#settle()
    }
    if (wait === undefined) this.#complete(virtualCpu)
    else void wait.then(() => this.#complete(virtualCpu))
  }

  #complete(virtualCpu: number): void {
    // The request itself, or what the processor waited for, may have closed everything, the page with it.
    if (this.#closed) return
    this.#page.complete(virtualCpu)
    this.#channels[virtualCpu]?.notify()
  }

  #perform(virtualCpu: number, request: IoRequest): Promise<void> | undefined {
    if (request.type === IOREQ_TYPE_INVALIDATE) {
      this.#counts.invalidations += 1
      return this.#host.invalidate()
    }
    if (request.type !== IOREQ_TYPE_COPY) {
      throw new RangeError(`a request of type ${request.type}, which an Arm guest does not make`)
    }
    if (request.dataIsPointer || request.count !== 1) this.#copy(virtualCpu, request)
    else if (request.read) this.#read(virtualCpu, request)
    else this.#write(request)
    if (request.read) this.#counts.reads += 1
    else this.#counts.writes += 1
    // Reads too: what is read may be stored into registers.
    return this.#settle()
  }

  #settle(): Promise<void> | undefined {
    const wait = this.#host.settle()
    if (wait !== undefined) this.#counts.held += 1
    return wait
  }

  #read(virtualCpu: number, { page, offset, size }: IoRequest): void {
    const { space } = this.#host
    if (size === 8) {
      const value = space.loadBigUint64(page, offset)
      this.#setData(virtualCpu, Number(value & 0xffff_ffffn), Number(value >> 32n))
    } else this.#setData(virtualCpu, load(space, page, offset, size), 0)
  }

  #setData(virtualCpu: number, low: number, high: number): void {
    if (!this.#closed) this.#page.setData(virtualCpu, low, high)
  }

  #write({ page, offset, size, dataLow, dataHigh }: IoRequest): void {
    const { space } = this.#host
    if (size === 8) {
      space.storeBigUint64(page, offset, (BigInt(dataHigh) << 32n) | BigInt(dataLow))
    } else store(space, page, offset, size, dataLow)
  }

  /** Repetitions, with their data in guest memory: string instructions of processors that have them. */
  #copy(virtualCpu: number, request: IoRequest): void {
    const { page, offset, size, count, down, read, dataIsPointer } = request
    if (count * size > MAXIMUM_COUNT || ![1, 2, 4, 8].includes(size)) {
      throw new RangeError(`a request for ${count} × ${size} bytes: at most a page is possible`)
    }
    const { space } = this.#host
    const bytes = new Uint8Array(size)
    const dataPage = request.dataHigh * 2 ** 20 + (request.dataLow >>> 12)
    const dataOffset = request.dataLow & 0xfff
    for (let done = 0; done < count; done++) {
      const distance = (down ? -done : done) * size
      const device = moved(page, offset, distance)
      const data = moved(dataPage, dataOffset, distance)
      if (!dataIsPointer) {
        // Every repetition has the same value; of reads the last one counts.
        if (read) this.#read(virtualCpu, { ...request, ...device })
        else this.#write({ ...request, ...device })
      } else if (read) {
        space.read(device.page, device.offset, bytes)
        space.write(data.page, data.offset, bytes)
      } else {
        space.read(data.page, data.offset, bytes)
        space.write(device.page, device.offset, bytes)
      }
    }
  }
}

function load(space: AddressSpace, page: number, offset: number, size: number): number {
  switch (size) {
    case 1:
      return space.loadUint8(page, offset)
    case 2:
      return space.loadUint16(page, offset)
    case 4:
      return space.loadUint32(page, offset)
    default:
      throw new RangeError(`an access of ${size} bytes: 1, 2, 4 and 8 are possible`)
  }
}

function store(
  space: AddressSpace,
  page: number,
  offset: number,
  size: number,
  value: number,
): void {
  switch (size) {
    case 1:
      return space.storeUint8(page, offset, value)
    case 2:
      return space.storeUint16(page, offset, value)
    case 4:
      return space.storeUint32(page, offset, value)
    default:
      throw new RangeError(`an access of ${size} bytes: 1, 2, 4 and 8 are possible`)
  }
}

/** The address that lies `distance` bytes, less than a page, behind or before another. */
function moved(
  page: number,
  offset: number,
  distance: number,
): { readonly page: number; readonly offset: number } {
  const position = offset + distance
  return { page: page + Math.floor(position / 4096), offset: position & 0xfff }
}
