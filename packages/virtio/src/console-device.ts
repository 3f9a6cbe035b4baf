import type { Readable, Writable } from 'node:stream'
import { InvalidArgumentError } from '@xmc/core/errors'
import type { DescriptorChain } from './descriptor-chain.ts'
import type { DeviceHost, QueueDeclaration, VirtioDevice } from './device.ts'
import { featureSet, VIRTIO_CONSOLE_F_EMERG_WRITE, VIRTIO_CONSOLE_F_SIZE } from './features.ts'
import { VIRTIO_ID_CONSOLE } from './registers.ts'

/** How a console is made. */
export interface ConsoleDeviceOptions {
  /** Takes what the guest writes. Its errors are its owner's: listen for them. */
  readonly output: Writable
  /** Gives what the guest reads, in bytes: no encoding, no object mode. Without it, nothing comes in. */
  readonly input?: Readable | undefined
  /** Width in characters; by default 80. */
  readonly columns?: number | undefined
  /** Height in characters; by default 25. */
  readonly rows?: number | undefined
}

/**
 * A console with one port (virtio 1.2, 5.3), between two streams: the guest is held back when the
 * output is congested, and the input when the guest has no buffers for it.
 */
export class ConsoleDevice implements VirtioDevice {
  readonly deviceId: number = VIRTIO_ID_CONSOLE
  readonly features: bigint = featureSet(VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_EMERG_WRITE)
  /** Receive and transmit, each in order. */
  readonly queues: readonly QueueDeclaration[] = [
    { size: 64, inFlight: 1, requestBytes: 2 ** 20 },
    { size: 64, inFlight: 1, requestBytes: 2 ** 20 },
  ]
  readonly configuration: Uint8Array = new Uint8Array(12)

  private readonly input: Readable | undefined
  private readonly output: Writable
  private readonly sizeView = new DataView(this.configuration.buffer)
  private host: DeviceHost | undefined
  private abandonWrite: (() => void) | undefined

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a size over 16 bits, or an input of no bytes */
  constructor(options: ConsoleDeviceOptions) {
    const { input } = options
    if (input !== undefined && (input.readableObjectMode || input.readableEncoding !== null)) {
      throw new InvalidArgumentError('input', 'a stream of bytes', input)
    }
    this.input = input
    this.output = options.output
    this.setSize(options.columns ?? 80, options.rows ?? 25)
  }

  attach(host: DeviceHost): void {
    this.host = host
    this.input?.on('readable', () => host.resume(RECEIVE))
  }

  /**
   * Tells the guest the size of the screen.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a size over 16 bits
   */
  resize(columns: number, rows: number): void {
    this.setSize(columns, rows)
    this.host?.configurationChanged()
  }

  ready(queue: number): boolean {
    return queue !== RECEIVE || (this.input?.readableLength ?? 0) > 0
  }

  handle(chain: DescriptorChain, queue: number): number | Promise<number> {
    return queue === RECEIVE ? this.receive(chain) : this.transmit(chain)
  }

  stop(): void {
    this.abandonWrite?.()
  }

  /** The emergency write (5.3.5.1): one character, on a device in any state. */
  writeConfiguration(offset: number, value: number): void {
    if (offset === EMERGENCY_WRITE) this.output.write(Uint8Array.of(value & 0xff))
  }

  private receive(chain: DescriptorChain): number {
    const { input } = this
    const room = Math.min(chain.writableLength, input?.readableLength ?? 0)
    if (input === undefined || room === 0) return 0
    const buffers = chain.writable(0, room)
    const bytes: unknown = input.read(room)
    if (!(bytes instanceof Uint8Array)) return 0
    let done = 0
    for (const buffer of buffers) {
      buffer.set(bytes.subarray(done, done + buffer.length))
      done += buffer.length
    }
    return room
  }

  private transmit(chain: DescriptorChain): Promise<number> {
    const bytes = chain.read()
    return new Promise((resolve) => {
      // The guest's memory is free as soon as its bytes are copied; a stream that stands still must
      // not hold up a reset.
      const done = (): void => {
        this.abandonWrite = undefined
        resolve(0)
      }
      this.abandonWrite = done
      // A failed write is an 'error' of the stream, which is its owner's.
      this.output.write(bytes, done)
    })
  }

  private setSize(columns: number, rows: number): void {
    for (const [name, value] of Object.entries({ columns, rows })) {
      if (!Number.isInteger(value) || value < 0 || value > 0xffff) {
        throw new InvalidArgumentError(name, 'an integer from 0 to 65535', value)
      }
    }
    this.sizeView.setUint16(0, columns, true)
    this.sizeView.setUint16(2, rows, true)
  }
}

const RECEIVE = 0
const EMERGENCY_WRITE = 8
