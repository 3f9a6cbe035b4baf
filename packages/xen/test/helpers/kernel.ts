import { constants } from 'node:os'
import { createMemoryFile, type MemoryFile } from '@xmc/hostmem'
import { ALLOCATE_GRANTS } from '../../src/internal/gntalloc.ts'
import { MAP_GRANT_REFERENCES } from '../../src/internal/gntdev.ts'
import { MAP_BATCH } from '../../src/internal/privcmd.ts'
import type { SystemCalls } from '../../src/internal/system-calls.ts'

/** One ioctl that was made. */
export interface RecordedCall {
  readonly path: string
  readonly request: number
  /** The structure, as it was handed over. */
  readonly bytes: Uint8Array
}

/** An open device of the double. */
interface OpenDevice {
  readonly path: string
  readonly file: MemoryFile
  open: boolean
}

/** Pages of the file that stands for each device. */
const FILE_PAGES = 512

/**
 * A double of the kernel's side: devices are memory files whose page n holds the byte n + 1, so that real
 * mappings of them can be seen in a real window; ioctls are recorded, and answered as a test says.
 */
export class Kernel implements SystemCalls {
  readonly calls: RecordedCall[] = []
  /** Descriptors closed, each time. */
  readonly closed: number[] = []
  /** Ranges that were kept from children. */
  readonly notForked: { readonly address: number; readonly length: number }[] = []
  /** What is there to read, as ports of event channels. */
  readonly events: number[] = []
  /** Ports that were written to the device, which lets their events through again. */
  readonly written: number[] = []
  /** Whether each descriptor signals its input, in the order of the calls. */
  readonly signals: boolean[] = []
  /** Frames that fail, with a negative errno each. */
  readonly badFrames = new Map<number, number>()
  /** Errno with which a path is refused to be opened. */
  readonly refusedPaths = new Map<string, number>()
  /** Results of ioctls by request; taken once each, from the first. Without one the result is 0. */
  readonly results = new Map<number, number[]>()
  /** Statuses of grant copies, by reference. */
  readonly copyStatuses = new Map<number, number>()
  /** When set, mmap of a device fails. */
  mapsFail = false
  /** Settles the asynchronous ioctls. */
  asynchronousGate: Promise<unknown> = Promise.resolve()
  readonly #devices = new Map<number, OpenDevice>()
  #nextIndex = 0
  readonly #buffers = new Map<number, ArrayBuffer>()
  #nextAddress = 0x7f00_0000_0000

  /** What was asked by one request. */
  callsOf(request: number): Uint8Array[] {
    return this.calls.filter((call) => call.request === request).map(({ bytes }) => bytes)
  }

  /** The next result of a request. */
  answer(request: number, ...results: number[]): void {
    this.results.set(request, [...(this.results.get(request) ?? []), ...results])
  }

  /** Devices that are open now, by path. */
  get openPaths(): string[] {
    return [...this.#devices.values()].filter(({ open }) => open).map(({ path }) => path)
  }

  /** What stands for the device that was opened last under a path. */
  fileOf(path: string): MemoryFile {
    const file = [...this.#devices.values()].findLast((device) => device.path === path)?.file
    if (file === undefined) throw new Error(`${path} was never opened`)
    return file
  }

  open(path: string): number {
    const errno = this.refusedPaths.get(path)
    if (errno !== undefined) return -errno
    const file = createMemoryFile({ name: path.replaceAll('/', '-'), size: FILE_PAGES * 4096 })
    for (let page = 0; page < FILE_PAGES; page++) {
      file.write(page * 4096, Uint8Array.of((page % 255) + 1))
    }
    // A descriptor that is not open makes every mmap of it fail.
    const descriptor = this.mapsFail ? 1_000_000 + this.#devices.size : file.fd
    this.#devices.set(descriptor, { path, file, open: true })
    return descriptor
  }

  close(descriptor: number): void {
    this.closed.push(descriptor)
    const device = this.#require(descriptor)
    device.open = false
    device.file.close()
  }

  ioctl(descriptor: number, request: number, argument: Uint8Array): number {
    const { path } = this.#require(descriptor)
    this.calls.push({ path, request, bytes: argument.slice() })
    const result = this.results.get(request)?.shift() ?? 0
    if (request === MAP_BATCH) return this.#mapBatch(argument, result)
    if (result < 0) return result
    const view = new DataView(argument.buffer, argument.byteOffset)
    if (request === MAP_GRANT_REFERENCES) {
      view.setBigUint64(8, BigInt(this.#nextIndex), true)
      this.#nextIndex += view.getUint32(0, true) * 4096
    }
    if (request === ALLOCATE_GRANTS) {
      const count = view.getUint32(4, true)
      for (let i = 0; i < count; i++) view.setUint32(16 + 4 * i, 100 + i, true)
      view.setBigUint64(8, 0n, true)
    }
    if (request === 0x0010_4708) this.#copy(view)
    return result
  }

  async ioctlAsync(descriptor: number, request: number, argument: Uint8Array): Promise<number> {
    await this.asynchronousGate
    return this.ioctl(descriptor, request, argument)
  }

  read(descriptor: number, target: Uint8Array): number {
    this.#require(descriptor)
    if (this.events.length === 0) return -constants.errno.EAGAIN
    const view = new DataView(target.buffer, target.byteOffset)
    const ports = this.events.splice(0, target.length / 4)
    for (const [index, port] of ports.entries()) view.setUint32(4 * index, port, true)
    return 4 * ports.length
  }

  write(descriptor: number, source: Uint8Array): number {
    this.#require(descriptor)
    this.written.push(new DataView(source.buffer, source.byteOffset).getUint32(0, true))
    return source.length
  }

  dontFork(address: number, length: number): number {
    this.notForked.push({ address, length })
    return 0
  }

  signalInput(descriptor: number, signal: boolean): number {
    this.#require(descriptor)
    this.signals.push(signal)
    return 0
  }

  addressOf(buffer: ArrayBuffer): number {
    const address = this.#nextAddress
    this.#nextAddress += 0x1000_0000
    this.#buffers.set(address, buffer)
    return address
  }

  #mapBatch(argument: Uint8Array, result: number): number {
    const view = new DataView(argument.buffer, argument.byteOffset)
    const count = view.getUint32(0, true)
    const start = Number(view.getBigUint64(16, true)) % 0x1000_0000
    const errors = Number(view.getBigUint64(24, true)) % 0x1000_0000
    let pagedOut = false
    for (let i = 0; i < count; i++) {
      const frame = Number(view.getBigUint64(start + 8 * i, true))
      const status = this.badFrames.get(frame) ?? 0
      view.setInt32(errors + 4 * i, status, true)
      pagedOut ||= status === -constants.errno.ENOENT
    }
    return result === 0 && pagedOut ? -constants.errno.ENOENT : result
  }

  #copy(view: DataView): void {
    const count = view.getUint32(0, true)
    for (let i = 0; i < count; i++) {
      const at = 16 + 24 * i
      const fromGrant = view.getUint16(at + 18, true) === 1
      const reference = view.getUint32(fromGrant ? at : at + 8, true)
      const status = this.copyStatuses.get(reference) ?? 0
      view.setInt16(at + 20, status, true)
      if (!fromGrant) continue
      const local = Number(view.getBigUint64(at + 8, true)) % 0x1000_0000
      const length = view.getUint16(at + 16, true)
      new Uint8Array(view.buffer, local, length).fill(reference)
    }
  }

  #require(descriptor: number): OpenDevice {
    const device = this.#devices.get(descriptor)
    if (device?.open === true) return device
    throw new Error(`descriptor ${descriptor} is not open`)
  }
}
