import { setImmediate as turn } from 'node:timers/promises'
import {
  FrameAllocator,
  GrantDmaMapper,
  type InterruptLine,
  type MmioBus,
  PlainDmaMapper,
} from '../../src/driver.ts'
import type { GuestMemory, GuestRange } from '../../src/index.ts'
import { GrantsDouble } from './driver-grants.ts'

const PAGE = 4096
const FIRST_GRANT_PAGE = 2 ** 51

/** Registers of a device, at offsets from their start. */
export interface RegisterFile {
  read(offset: number, size: number): number
  write(offset: number, value: number, size: number): void
}

/** An interrupt line that calls its handler once for a rise, in a later turn, as the simulator does. */
export class LineDouble implements InterruptLine {
  level = false
  rises = 0
  #handler: (() => void) | undefined

  setLevel(high: boolean): void {
    const rises = high && !this.level
    this.level = high
    if (!rises) return
    this.rises++
    this.#call()
  }

  subscribe(handler: () => void): () => void {
    this.#handler = handler
    if (this.level) this.#call()
    return () => {
      if (this.#handler === handler) this.#handler = undefined
    }
  }

  #call(): void {
    setImmediate(() => this.#handler?.())
  }
}

/** Memory-mapped I/O: every access takes a turn of the event loop. */
class BusDouble implements MmioBus {
  readonly slots = new Map<bigint, RegisterFile>()
  /** Accesses so far. */
  accesses = 0
  /** What every access rejects with, while set. */
  failure: Error | undefined
  /** While true, no access is answered. */
  hangs = false
  /** Called before each access reaches the device. */
  onAccess: ((offset: number, write: boolean) => void) | undefined

  async read(address: number | bigint, size: number): Promise<number> {
    const access = await this.#arrive(address, false)
    return access === undefined ? 0xffff_ffff : access.file.read(access.offset, size)
  }

  async write(address: number | bigint, value: number, size: number): Promise<void> {
    const access = await this.#arrive(address, true)
    access?.file.write(access.offset, value, size)
  }

  async #arrive(
    address: number | bigint,
    write: boolean,
  ): Promise<{ file: RegisterFile; offset: number } | undefined> {
    this.accesses++
    await turn()
    if (this.hangs) await new Promise<never>(() => undefined)
    if (this.failure !== undefined) throw this.failure
    for (const [start, file] of this.slots) {
      const offset = Number(BigInt(address) - start)
      if (offset < 0 || offset >= 0x200) continue
      this.onAccess?.(offset, write)
      return { file, offset }
    }
    return undefined
  }
}

/** A guest: its RAM, its grants, and a device's view of both by device address. */
export class GuestDouble implements GuestMemory {
  static readonly firstFrame = 0x40000
  readonly ram: Uint8Array
  readonly frames: FrameAllocator
  readonly grants: GrantsDouble
  readonly plain = new PlainDmaMapper()
  readonly granted: GrantDmaMapper
  readonly bus = new BusDouble()
  readonly line = new LineDouble()
  /** Ranges that the device has mapped. */
  mapped = 0
  /** What the device maps next fails, while true. */
  revoked = false

  constructor({ frames = 1024, references = 4096 } = {}) {
    this.ram = new Uint8Array(frames * PAGE)
    this.grants = new GrantsDouble(references)
    this.granted = new GrantDmaMapper(this.grants)
    this.frames = new FrameAllocator({
      first: GuestDouble.firstFrame,
      count: frames,
      view: (frame, count) => {
        const start = (frame - GuestDouble.firstFrame) * PAGE
        return this.ram.subarray(start, start + count * PAGE)
      },
    })
  }

  map(page: number, offset: number, length: number, write: boolean): GuestRange {
    if (this.revoked) throw Object.assign(new Error('revoked'), { code: 'ERR_XMC_GRANT' })
    const release = page >= FIRST_GRANT_PAGE ? this.#pin(page, offset, length, write) : undefined
    const bytes = this.bytesAt(page, offset, length)
    this.mapped++
    return {
      bytes,
      release: () => {
        this.mapped--
        release?.()
      },
    }
  }

  async mapAsync(
    page: number,
    offset: number,
    length: number,
    write: boolean,
  ): Promise<GuestRange> {
    await turn()
    return this.map(page, offset, length, write)
  }

  /** The bytes at a device address. */
  bytesAt(page: number, offset: number, length: number): Uint8Array {
    let frame = page
    if (page >= FIRST_GRANT_PAGE) {
      const entry = this.grants.entries.get(page - FIRST_GRANT_PAGE)
      if (entry === undefined) throw Object.assign(new Error('no grant'), { code: 'ERR_XMC_GRANT' })
      frame = entry.frame
    }
    const start = (frame - GuestDouble.firstFrame) * PAGE + offset
    if (start < 0 || start + length > this.ram.length) {
      throw Object.assign(new Error('no memory'), { code: 'ERR_XMC_HOLE' })
    }
    return this.ram.subarray(start, start + length)
  }

  #pin(page: number, offset: number, length: number, write: boolean): () => void {
    const first = page - FIRST_GRANT_PAGE
    const count = Math.ceil((offset + length) / PAGE)
    const entries = Array.from({ length: count }, (_, i) => {
      const entry = this.grants.entries.get(first + i)
      if (entry === undefined || (write && entry.readOnly)) {
        throw Object.assign(new Error(`grant ${first + i} refused`), { code: 'ERR_XMC_GRANT' })
      }
      return entry
    })
    for (const entry of entries) entry.pins++
    return () => {
      for (const entry of entries) entry.pins--
    }
  }
}
