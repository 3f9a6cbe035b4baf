import { type DomainId, InvalidArgumentError, PAGE_SIZE, XmcError } from '@xmc/interface'
import { MemoryRegionView } from './internal/memory-region-view.ts'
import type { MachineMemory } from './machine-memory.ts'
import type { PhysicalToMachine } from './p2m.ts'

/** Frames of the largest region: 1 GiB. A dom0 of 1.5 GiB was seen to refuse a window of 4 GiB, not this. */
const REGION_FRAMES = 2 ** 18

/** Regions start and end at 2 MiB where they can, so that neighbouring frames share one. */
const REGION_ALIGNMENT = 512

/**
 * A domain's memory as the domain itself sees it: for guest drivers in TypeScript, and for tests.
 *
 * Addresses are guest-physical byte addresses as numbers, integers from 0 to 2^53 − 1; frames beyond
 * 2^41 are out of reach here. Numbers in memory are little endian and need not be aligned. An access
 * to a hole throws {@link GuestAddressError}; a paged-out frame is served as if the pager were quick.
 *
 * The memory is laid out in regions of up to 1 GiB, each a window of host memory that is opened with
 * the first access. Frames are mapped there when they are accessed, and follow the domain's from then on;
 * they are unmapped again where memory areas are short. Only {@link DomainMemory.view} shows the borders
 * of regions; what it has shown stays mapped.
 */
export class DomainMemory {
  readonly #domain: DomainId
  readonly #p2m: PhysicalToMachine
  readonly #machine: MachineMemory
  #regions: MemoryRegionView[] = []
  #closed = false
  readonly #scratch = new Uint8Array(8)
  readonly #scratchView = new DataView(this.#scratch.buffer)

  // The populated addresses around the last access: [low, high) is at `address - base` in `data`.
  #low = 0
  #high = 0
  #base = 0
  #data: DataView = this.#scratchView
  #bytes: Uint8Array = this.#scratch

  constructor(domain: DomainId, p2m: PhysicalToMachine, machine: MachineMemory) {
    this.#domain = domain
    this.#p2m = p2m
    this.#machine = machine
    p2m.onChange((frame, count, populated) => this.#follow(frame, count, populated))
  }

  /** Reads one byte. @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` */
  readUint8(address: number): number {
    if (this.#near(address, 1)) return this.#data.getUint8(address - this.#base)
    return this.#far(address, 1).getUint8(0)
  }

  /** Reads 16 bits. @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` */
  readUint16(address: number): number {
    if (this.#near(address, 2)) return this.#data.getUint16(address - this.#base, true)
    return this.#far(address, 2).getUint16(0, true)
  }

  /** Reads 32 bits. @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` */
  readUint32(address: number): number {
    if (this.#near(address, 4)) return this.#data.getUint32(address - this.#base, true)
    return this.#far(address, 4).getUint32(0, true)
  }

  /** Reads 64 bits. @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` */
  readBigUint64(address: number): bigint {
    if (this.#near(address, 8)) return this.#data.getBigUint64(address - this.#base, true)
    return this.#far(address, 8).getBigUint64(0, true)
  }

  /** Writes one byte, the low 8 bits of `value`. @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` */
  writeUint8(address: number, value: number): void {
    if (this.#near(address, 1)) return this.#data.setUint8(address - this.#base, value)
    this.#scratchView.setUint8(0, value)
    this.#spill(address, 1)
  }

  /** Writes 16 bits. @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` */
  writeUint16(address: number, value: number): void {
    if (this.#near(address, 2)) return this.#data.setUint16(address - this.#base, value, true)
    this.#scratchView.setUint16(0, value, true)
    this.#spill(address, 2)
  }

  /** Writes 32 bits. @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` */
  writeUint32(address: number, value: number): void {
    if (this.#near(address, 4)) return this.#data.setUint32(address - this.#base, value, true)
    this.#scratchView.setUint32(0, value, true)
    this.#spill(address, 4)
  }

  /** Writes 64 bits. @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` */
  writeBigUint64(address: number, value: bigint): void {
    if (this.#near(address, 8)) return this.#data.setBigUint64(address - this.#base, value, true)
    this.#scratchView.setBigUint64(0, value, true)
    this.#spill(address, 8)
  }

  /**
   * Fills `target` with the bytes from `address` on.
   *
   * @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` when any of them is in a hole; nothing was copied
   */
  read(address: number, target: Uint8Array): void {
    this.#check(address, target.length)
    this.#forEachPiece(address, target.length, (bytes, done) => target.set(bytes, done))
  }

  /**
   * Writes `source` at `address`.
   *
   * @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` when any of it is in a hole; nothing was written
   */
  write(address: number, source: Uint8Array): void {
    this.#check(address, source.length)
    this.#forEachPiece(address, source.length, (bytes, done) => {
      bytes.set(source.subarray(done, done + bytes.length))
    })
  }

  /**
   * Sets `length` bytes from `address` on to `value`.
   *
   * @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` when any of them is in a hole; nothing was written
   */
  fill(address: number, length: number, value: number): void {
    this.#check(address, length)
    this.#forEachPiece(address, length, (bytes) => bytes.fill(value))
  }

  /**
   * The bytes of `count` frames from `frame` on, shared with everybody who maps them. The view stays
   * in place: a frame that becomes a hole later reads as zeros, and is the new page when populated again.
   *
   * @throws GuestAddressError `ERR_XMC_GUEST_ADDRESS` when any frame is a hole, or when the frames lie in
   * two regions: what one `populate` brought, up to 1 GiB, is in one
   * @throws MemoryAreasError `ERR_XMC_MEMORY_AREAS` when the frames lie in more pieces than the process has
   * memory areas for
   */
  view(frame: number, count: number): Uint8Array {
    const address = frame * PAGE_SIZE
    this.#check(address, count * PAGE_SIZE)
    const region = this.#regionOf(frame)
    if (region === undefined || frame + count > region.first + region.count) {
      throw new GuestAddressError(this.#domain, address, count * PAGE_SIZE, 'crosses a region')
    }
    return region.show(frame, count)
  }

  /**
   * Announces frames that are going to be populated, so that they come to lie in one region. For the
   * domain itself.
   */
  reserve(frame: number, count: number): void {
    const end = frame + count
    let at = frame
    for (const region of this.#regions) {
      if (region.first >= end) break
      if (region.first + region.count <= at) continue
      if (region.first > at) this.#addRegions(at, region.first)
      at = region.first + region.count
    }
    if (at < end) this.#addRegions(at, end)
  }

  /** Closes the windows; every access throws from then on. */
  close(): void {
    this.#closed = true
    this.#forget()
    for (const region of this.#regions) region.close()
    this.#regions = []
  }

  #near(address: number, length: number): boolean {
    return address >= this.#low && address + length <= this.#high
  }

  #far(address: number, length: number): DataView {
    this.read(address, this.#scratch.subarray(0, length))
    return this.#scratchView
  }

  #spill(address: number, length: number): void {
    this.write(address, this.#scratch.subarray(0, length))
  }

  #check(address: number, length: number): void {
    if (!Number.isSafeInteger(address) || address < 0 || !Number.isSafeInteger(address + length)) {
      throw new InvalidArgumentError('address', 'an integer from 0 to 2^53 - 1', address)
    }
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new InvalidArgumentError('length', 'an integer from 0', length)
    }
    if (length === 0 || this.#near(address, length)) return
    const first = Math.floor(address / PAGE_SIZE)
    const last = Math.floor((address + length - 1) / PAGE_SIZE)
    const extent = this.#closed ? undefined : this.#p2m.extentAround(first)
    if (extent === undefined || extent.end <= last) {
      throw new GuestAddressError(this.#domain, address, length, 'is not in RAM')
    }
  }

  #forEachPiece(
    address: number,
    length: number,
    visit: (bytes: Uint8Array, done: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const at = address + done
      if (!this.#near(at, 1)) this.#seek(at)
      const size = Math.min(length - done, this.#high - at)
      const start = at - this.#base
      visit(this.#bytes.subarray(start, start + size), done)
      done += size
    }
  }

  /** Makes the populated addresses around `address` the near ones. The caller checked that there are. */
  #seek(address: number): void {
    const frame = Math.floor(address / PAGE_SIZE)
    const region = this.#regionOf(frame)
    const run = this.#p2m.runAt(frame)
    if (region === undefined || run === undefined) {
      throw new GuestAddressError(this.#domain, address, 1, 'is not in RAM')
    }
    region.map(run)
    this.#data = region.data
    this.#bytes = region.bytes
    this.#base = region.first * PAGE_SIZE
    this.#low = Math.max(run.frame, region.first) * PAGE_SIZE
    this.#high = Math.min(run.frame + run.count, region.first + region.count) * PAGE_SIZE
  }

  #forget(): void {
    this.#low = 0
    this.#high = 0
    this.#data = this.#scratchView
    this.#bytes = this.#scratch
  }

  #regionOf(frame: number): MemoryRegionView | undefined {
    return this.#regions.find(
      (region) => frame >= region.first && frame < region.first + region.count,
    )
  }

  #follow(frame: number, count: number, populated: boolean): void {
    this.#forget()
    for (const region of this.#regions) {
      const first = Math.max(frame, region.first)
      const length = Math.min(frame + count, region.first + region.count) - first
      if (length > 0) region.follow(first, length, populated)
    }
  }

  /** Covers frames that no region has, and what lies around them up to the next 2 MiB and region. */
  #addRegions(first: number, end: number): void {
    const before = this.#regions.findLast((region) => region.first + region.count <= first)
    const after = this.#regions.find((region) => region.first >= end)
    const from = Math.max(
      Math.floor(first / REGION_ALIGNMENT) * REGION_ALIGNMENT,
      before === undefined ? 0 : before.first + before.count,
    )
    const to = Math.min(
      Math.ceil(end / REGION_ALIGNMENT) * REGION_ALIGNMENT,
      after === undefined ? Number.MAX_SAFE_INTEGER : after.first,
    )
    for (let at = from; at < to; at += REGION_FRAMES) {
      const count = Math.min(REGION_FRAMES, to - at)
      const { fd } = this.#machine
      const forget = (): void => this.#forget()
      this.#regions.push(new MemoryRegionView({ first: at, count, fd, p2m: this.#p2m, forget }))
    }
    this.#regions = this.#regions.toSorted((a, b) => a.first - b.first)
  }
}

/** `ERR_XMC_GUEST_ADDRESS`: a domain accessed an address of its own where it has no memory. */
export class GuestAddressError extends XmcError {
  /** The domain. */
  readonly domain: number
  /** First address of the access. */
  readonly address: number
  /** Bytes of the access. */
  readonly length: number

  constructor(domain: number, address: number, length: number, problem: string) {
    super(
      'ERR_XMC_GUEST_ADDRESS',
      `domain ${domain}: access of ${length} bytes at guest address 0x${address.toString(16)} ${problem}: populate the frames, or check the address`,
    )
    this.domain = domain
    this.address = address
    this.length = length
  }
}
