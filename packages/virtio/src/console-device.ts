import type { Readable, Writable } from 'node:stream'
import { checkMethods, checkOptions, InvalidArgumentError, ReportLimiter } from '@xmc/interface'
import type { DescriptorChain } from './descriptor-chain.ts'
import type { DeviceHost, QueueDeclaration, VirtioDevice } from './device.ts'
import { featureSet, VIRTIO_CONSOLE_F_EMERG_WRITE, VIRTIO_CONSOLE_F_SIZE } from './features.ts'
import { ConsoleOutput } from './internal/console-output.ts'
import { VIRTIO_ID_CONSOLE } from './registers.ts'

/** How a console is made. */
export interface ConsoleDeviceOptions {
  /**
   * Takes what the guest writes. When it has ended, failed or was destroyed, what the guest writes is dropped
   * and counted.
   */
  readonly output: Writable
  /** Gives what the guest reads, in bytes: no encoding, no object mode. Without it, nothing comes in. */
  readonly input?: Readable | undefined
  /** Width in characters; by default 80. */
  readonly columns?: number | undefined
  /** Height in characters; by default 25. */
  readonly rows?: number | undefined
  /**
   * Most bytes of the guest that wait in the output, 1 to 16 MiB; by default the stream's own high-water mark, or
   * 16 KiB for one that counts objects. Of more, what is transmitted stays in the guest, and emergency writes are
   * dropped.
   */
  readonly outputBytes?: number | undefined
  /**
   * Called with an error of either stream, up to 5 times and then once in 10 s with how many there were
   * (`repeated`, 0 before); by default the first becomes a process warning, unless somebody else listens for `error`.
   */
  readonly onError?: ((error: Error, repeated: number) => void) | undefined
}

/** Counts since a console was made. */
export interface ConsoleStatistics {
  /** Bytes that the guest received. */
  readonly received: number
  /** Bytes of the guest that the output took. */
  readonly transmitted: number
  /** Bytes of the guest that wait in the output. */
  readonly waiting: number
  /** Most bytes that wait there. */
  readonly outputBytes: number
  /** Bytes of the guest that were dropped: emergency writes without room, or an output that takes nothing more. */
  readonly dropped: number
}

/**
 * A console with one port (virtio 1.2, 5.3), between two streams: the guest is held back when the
 * output is congested, and the input when the guest has no buffers for it.
 *
 * At a reset, what the output has of the guest stays there, and no more is taken until it is written. Errors of the
 * streams never reach the process: see `onError`.
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
  private readonly output: ConsoleOutput
  private readonly sizeView = new DataView(this.configuration.buffer)
  private host: DeviceHost | undefined
  private transmission: Transmission | undefined
  private received = 0

  /**
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a size over 16 bits, an input of no bytes, or `outputBytes`
   * out of range
   */
  constructor(options: ConsoleDeviceOptions) {
    checkOptions('ConsoleDevice', options, {
      output: true,
      input: true,
      columns: true,
      rows: true,
      outputBytes: true,
      onError: true,
    })
    const { input, output } = options
    checkMethods('output', output, ['write'])
    if (input !== undefined && (input.readableObjectMode || input.readableEncoding !== null)) {
      throw new InvalidArgumentError('input', 'a stream of bytes', input)
    }
    const reports = new ReportLimiter(options.onError ?? warnOnce(input, output))
    const report = (error: Error): void => reports.report('stream', error)
    this.input = input
    input?.on('error', report)
    const limit = outputLimit(options)
    const resume = (): void => this.host?.resume(TRANSMIT)
    this.output = new ConsoleOutput(output, limit, resume, report)
    this.setSize(options.columns ?? 80, options.rows ?? 25)
  }

  /** A snapshot of the counts. */
  get statistics(): ConsoleStatistics {
    const { written, waiting, limit, dropped } = this.output
    return {
      received: this.received,
      transmitted: written,
      waiting,
      outputBytes: limit,
      dropped,
    }
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
    return queue === RECEIVE ? this.available > 0 : this.output.idle
  }

  handle(chain: DescriptorChain, queue: number): number | Promise<number> {
    return queue === RECEIVE ? this.receive(chain) : this.transmit(chain)
  }

  stop(): void {
    this.transmission?.end()
  }

  /** The emergency write (5.3.5.1): one character, on a device in any state. */
  writeConfiguration(offset: number, value: number): void {
    if (offset === EMERGENCY_WRITE) this.output.writeByte(value & 0xff)
  }

  /** Bytes that have come in; those of a stream that was destroyed are gone. */
  private get available(): number {
    const { input } = this
    return input?.readable === true ? input.readableLength : 0
  }

  private receive(chain: DescriptorChain): number {
    const { input } = this
    const room = Math.min(chain.writableLength, this.available)
    if (input === undefined || room === 0) return 0
    const buffers = chain.writable(0, room)
    const bytes: unknown = input.read(room)
    if (!(bytes instanceof Uint8Array)) return 0
    let done = 0
    for (const buffer of buffers) {
      buffer.set(bytes.subarray(done, done + buffer.length))
      done += buffer.length
    }
    this.received += room
    return room
  }

  /** Copies the guest's bytes piece by piece, each when the output has taken the one before. */
  private transmit(chain: DescriptorChain): Promise<number> {
    return new Promise((resolve, reject) => {
      const length = chain.readableLength
      let done = 0
      const transmission: Transmission = {
        // A stream that stands still must not hold up a reset.
        end: () => {
          if (this.transmission === transmission) this.transmission = undefined
          resolve(0)
        },
      }
      const next = (): void => {
        // Belongs to a request of before a reset, whose memory is not to be touched.
        if (this.transmission !== transmission) return
        try {
          while (done < length && this.output.idle) {
            const piece = chain.read(done, Math.min(this.output.limit, length - done))
            done += piece.length
            this.output.write(piece)
          }
        } catch (error) {
          this.transmission = undefined
          reject(error)
          return
        }
        if (done === length && this.output.idle) transmission.end()
        else this.output.whenIdle(next)
      }
      this.transmission = transmission
      next()
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

/** A request to transmit that is not over. */
interface Transmission {
  /** Ends it, whatever of it is written. */
  readonly end: () => void
}

const RECEIVE = 0
const TRANSMIT = 1
const EMERGENCY_WRITE = 8

const DEFAULT_OUTPUT_BYTES = 16 * 1024
const MAX_OUTPUT_BYTES = 2 ** 24

function outputLimit({ output, outputBytes }: ConsoleDeviceOptions): number {
  const { writableObjectMode, writableHighWaterMark } = output
  if (outputBytes === undefined) {
    if (writableObjectMode || writableHighWaterMark < 1) return DEFAULT_OUTPUT_BYTES
    return Math.min(writableHighWaterMark, MAX_OUTPUT_BYTES)
  }
  if (Number.isInteger(outputBytes) && outputBytes >= 1 && outputBytes <= MAX_OUTPUT_BYTES) {
    return outputBytes
  }
  throw new InvalidArgumentError(
    'outputBytes',
    `an integer from 1 to ${MAX_OUTPUT_BYTES}`,
    outputBytes,
  )
}

/** Errors that neither `onError` nor the owner of the stream hears would be silent. */
function warnOnce(
  ...streams: readonly (Readable | Writable | undefined)[]
): (error: Error) => void {
  let warned = false
  return (error) => {
    if (warned || streams.every((stream) => (stream?.listenerCount('error') ?? 2) > 1)) return
    warned = true
    process.emitWarning(`a stream of a console failed: ${error.message}`, {
      type: 'XmcWarning',
      code: 'WARN_XMC_CONSOLE_STREAM',
    })
  }
}
