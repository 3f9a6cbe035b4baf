import {
  checkMethods,
  checkOptions,
  InvalidArgumentError,
  type OptionNames,
  ReportLimiter,
} from '@xmc/interface'
import type { BlockDeviceOptions, BlockStatistics } from './block-device-options.ts'
import {
  VIRTIO_BLK_HEADER_SECTOR,
  VIRTIO_BLK_HEADER_SIZE,
  VIRTIO_BLK_HEADER_TYPE,
  VIRTIO_BLK_ID_SIZE,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_SECTOR_SIZE,
  VIRTIO_BLK_STATUS_SIZE,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from './block-protocol.ts'
import { BlockRequestError } from './block-request-error.ts'
import type { DescriptorChain } from './descriptor-chain.ts'
import type { DeviceHost, QueueDeclaration, VirtioDevice } from './device.ts'
import type { Disk } from './disk.ts'
import { VirtqueueError } from './errors.ts'
import {
  featureSet,
  hasFeature,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from './features.ts'
import { blockConfiguration, writeCapacity } from './internal/block-configuration.ts'
import { type BlockSegment, parseSegments } from './internal/block-segments.ts'
import { codeOf, messageOf } from './internal/error-parts.ts'
import { ServedDisk } from './internal/served-disk.ts'
import { VIRTIO_ID_BLOCK } from './registers.ts'

const OPTIONS: OptionNames<BlockDeviceOptions> = {
  disk: true,
  queueSize: true,
  inFlight: true,
  segmentBytes: true,
  blockSize: true,
  physicalBlockExponent: true,
  alignmentOffset: true,
  minimumIoSize: true,
  optimalIoSize: true,
  onError: true,
  reports: true,
}

/**
 * A block device (virtio 1.2, 5.2): reads, writes, flushes, discards, zeros and the identity of a
 * disk, many requests at a time. Data moves between the disk and the guest's own pages.
 *
 * A request that cannot be done is answered with IOERR or UNSUPP, and the device goes on. Only one
 * whose status byte cannot be written stops it until a reset. Without FLUSH on the driver's side,
 * each write is made durable before it is answered (5.2.6.2).
 */
export class BlockDevice implements VirtioDevice {
  readonly deviceId: number = VIRTIO_ID_BLOCK
  readonly features: bigint
  readonly queues: readonly QueueDeclaration[]
  readonly configuration: Uint8Array
  /** What it stores its sectors in. */
  readonly disk: Disk

  private readonly served: ServedDisk
  private readonly reports: ReportLimiter<BlockRequestError> | undefined
  private readonly blockSize: number
  private readonly identity: Uint8Array
  private readonly header = new Uint8Array(VIRTIO_BLK_HEADER_SIZE)
  private readonly headerView = new DataView(this.header.buffer)
  private host: DeviceHost | undefined
  private discards = false
  private zeroes = false
  private writeThrough = false
  private readonly counts = {
    requests: 0,
    reads: 0,
    writes: 0,
    flushes: 0,
    bytesRead: 0,
    bytesWritten: 0,
    failed: 0,
  }

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` */
  constructor(options: BlockDeviceOptions) {
    checkOptions('BlockDevice', options, OPTIONS)
    const { disk } = options
    checkMethods('disk', disk, ['read', 'write', 'flush'])
    const queueSize = powerOfTwo('queueSize', options.queueSize ?? 256, 4, 32768)
    const blockSize = powerOfTwo('blockSize', options.blockSize ?? 512, 512, 2 ** 31)
    const segmentBytes = options.segmentBytes ?? 2 ** 20
    if (segmentBytes < 512 || segmentBytes % 512 !== 0 || segmentBytes > 2 ** 31) {
      throw new InvalidArgumentError('segmentBytes', 'a multiple of 512 up to 2 GiB', segmentBytes)
    }
    if (disk.size <= 0 || disk.size % blockSize !== 0) {
      throw new InvalidArgumentError('disk.size', `a multiple of ${blockSize}, over 0`, disk.size)
    }
    const segments = queueSize - 2
    this.disk = disk
    this.served = new ServedDisk(disk)
    this.blockSize = blockSize
    const { onError } = options
    if (onError !== undefined) {
      this.reports = new ReportLimiter(onError, { ...options.reports, deferred: true })
    }
    this.identity = identityBytes(disk.identity)
    this.features = featuresOf(disk)
    const requestBytes = segments * segmentBytes + 2 * 512
    const inFlight = field('inFlight', options.inFlight ?? queueSize, queueSize, 1)
    this.queues = [{ size: queueSize, inFlight, requestBytes }]
    this.configuration = blockConfiguration(disk, {
      segmentBytes,
      segments,
      blockSize,
      physicalBlockExponent: field('physicalBlockExponent', options.physicalBlockExponent, 255),
      alignmentOffset: field('alignmentOffset', options.alignmentOffset, 255),
      minimumIoSize: field('minimumIoSize', options.minimumIoSize, 0xffff),
      optimalIoSize: field('optimalIoSize', options.optimalIoSize, 0xffff_ffff),
    })
  }

  /** A snapshot of the counts. */
  get statistics(): BlockStatistics {
    return { ...this.counts }
  }

  /**
   * Looks what size the disk has now, and tells the guest. Requests behind the new end fail with `range`, and those
   * that are under way there with whatever the disk says.
   *
   * @throws DiskError `ERR_XMC_DISK` when the disk cannot be looked at; the guest is told nothing then
   */
  resized(): void {
    this.disk.refresh?.()
    writeCapacity(this.configuration, this.disk, this.blockSize)
    this.host?.configurationChanged()
  }

  /** Tells `onError` at once of the requests that are counted, as before an end. */
  flushReports(): void {
    this.reports?.flush()
  }

  attach(host: DeviceHost): void {
    this.host = host
  }

  start(features: bigint): void {
    this.discards = hasFeature(features, VIRTIO_BLK_F_DISCARD)
    this.zeroes = hasFeature(features, VIRTIO_BLK_F_WRITE_ZEROES)
    this.writeThrough = !hasFeature(features, VIRTIO_BLK_F_FLUSH)
  }

  /**
   * @throws VirtqueueError `ERR_XMC_VIRTQUEUE`, reason `short-buffer`, without room for a status
   * @throws GuestBufferError `ERR_XMC_GUEST_BUFFER`, when the status cannot be written
   */
  handle(chain: DescriptorChain): number | Promise<number> {
    const dataLength = chain.writableLength - VIRTIO_BLK_STATUS_SIZE
    if (dataLength < 0) {
      throw new VirtqueueError(
        chain.queue,
        'short-buffer',
        `the block request of descriptor ${chain.head} has no room for its status`,
      )
    }
    this.counts.requests += 1
    try {
      return this.execute(chain, dataLength)
    } catch (error) {
      return this.fail(chain, dataLength, error)
    }
  }

  /** Does the request and writes its status; throws what makes it fail before it waits. */
  private execute(chain: DescriptorChain, dataLength: number): number | Promise<number> {
    if (chain.readableLength < VIRTIO_BLK_HEADER_SIZE) {
      throw new BlockRequestError(
        'header',
        `a header of ${chain.readableLength} bytes: ${VIRTIO_BLK_HEADER_SIZE} are needed`,
      )
    }
    chain.readInto(this.header)
    const type = this.headerView.getUint32(VIRTIO_BLK_HEADER_TYPE, true)
    const sector =
      this.headerView.getUint32(VIRTIO_BLK_HEADER_SECTOR, true) +
      this.headerView.getUint32(VIRTIO_BLK_HEADER_SECTOR + 4, true) * 2 ** 32
    switch (type) {
      case VIRTIO_BLK_T_IN:
        return this.read(chain, sector, dataLength)
      case VIRTIO_BLK_T_OUT:
        return this.answered(chain, dataLength, this.write(chain, sector))
      case VIRTIO_BLK_T_FLUSH:
        return this.answered(chain, dataLength, this.flush())
      case VIRTIO_BLK_T_GET_ID: {
        const identity = this.identity.subarray(0, dataLength)
        chain.write(identity)
        return answer(chain, dataLength, identity.length, VIRTIO_BLK_S_OK)
      }
      case VIRTIO_BLK_T_DISCARD: {
        if (!this.discards) throw unsupported(type)
        const segments = parseSegments(chain, 'discard')
        return this.answered(
          chain,
          dataLength,
          this.eachSegment(segments, ({ position, length }) =>
            this.served.discard(position, length),
          ),
        )
      }
      case VIRTIO_BLK_T_WRITE_ZEROES: {
        if (!this.zeroes) throw unsupported(type)
        const segments = parseSegments(chain, 'write-zeroes')
        return this.answered(
          chain,
          dataLength,
          this.eachSegment(segments, ({ position, length, mayUnmap }) =>
            this.served.writeZeroes(position, length, mayUnmap),
          ),
        )
      }
      default:
        throw unsupported(type)
    }
  }

  private answered(
    chain: DescriptorChain,
    dataLength: number,
    work: Promise<void>,
  ): Promise<number> {
    return work.then(
      () => answer(chain, dataLength, 0, VIRTIO_BLK_S_OK),
      (error: unknown) => this.fail(chain, dataLength, error),
    )
  }

  private read(chain: DescriptorChain, sector: number, length: number): Promise<number> {
    const position = this.position(sector, length)
    return this.disk.read(chain.writable(0, length), position).then(
      () => {
        this.counts.reads += 1
        this.counts.bytesRead += length
        return answer(chain, length, length, VIRTIO_BLK_S_OK)
      },
      (error: unknown) => this.fail(chain, length, error),
    )
  }

  private async write(chain: DescriptorChain, sector: number): Promise<void> {
    const { writeThrough } = this
    const length = chain.readableLength - VIRTIO_BLK_HEADER_SIZE
    if (this.disk.readOnly) throw new BlockRequestError('read-only', 'the disk is read-only')
    const position = this.position(sector, length)
    await this.disk.write(chain.readable(VIRTIO_BLK_HEADER_SIZE, length), position)
    if (writeThrough) await this.served.flush()
    this.counts.writes += 1
    this.counts.bytesWritten += length
  }

  private async flush(): Promise<void> {
    await this.served.flush()
    this.counts.flushes += 1
  }

  private async eachSegment(
    segments: readonly BlockSegment[],
    act: (segment: BlockSegment) => Promise<void>,
  ): Promise<void> {
    const { writeThrough } = this
    for (const { position, length } of segments) this.checkRange(position, length)
    for (const segment of segments) {
      // One request is one operation on the disk
      if (segment.length > 0) await act(segment)
    }
    if (writeThrough) await this.served.flush()
  }

  private position(sector: number, length: number): number {
    if (length % VIRTIO_BLK_SECTOR_SIZE !== 0) {
      throw new BlockRequestError('length', `${length} bytes of data: a multiple of 512 is needed`)
    }
    return this.checkRange(sector * VIRTIO_BLK_SECTOR_SIZE, length)
  }

  private checkRange(position: number, length: number): number {
    const { size } = this.disk
    if (position + length <= size) return position
    throw new BlockRequestError(
      'range',
      `${length} bytes at ${position}: the disk ends at ${size} bytes`,
    )
  }

  private fail(chain: DescriptorChain, dataLength: number, cause: unknown): number {
    const error = cause instanceof BlockRequestError ? cause : wrapped(cause)
    this.counts.failed += 1
    this.reports?.report(error.reason, error)
    return answer(chain, dataLength, 0, error.status)
  }
}

/** Each status as bytes. */
const STATUS_BYTES: readonly Uint8Array[] = [0, 1, 2].map((status) => Uint8Array.of(status))

/**
 * Writes the status behind `dataLength` bytes, of which the first `written` are.
 *
 * @returns the bytes written without a gap
 */
function answer(
  chain: DescriptorChain,
  dataLength: number,
  written: number,
  status: number,
): number {
  chain.write(STATUS_BYTES[status] ?? Uint8Array.of(status), dataLength)
  return written === dataLength ? written + VIRTIO_BLK_STATUS_SIZE : written
}

function wrapped(cause: unknown): BlockRequestError {
  const reason = codeOf(cause) === 'ERR_XMC_GUEST_BUFFER' ? 'buffer' : 'disk'
  return new BlockRequestError(reason, () => messageOf(cause), { cause })
}

function unsupported(type: number): BlockRequestError {
  return new BlockRequestError('unsupported', `type ${type} is not supported`)
}

function featuresOf(disk: Disk): bigint {
  const features = [
    VIRTIO_BLK_F_SIZE_MAX,
    VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_F_BLK_SIZE,
    VIRTIO_BLK_F_FLUSH,
    VIRTIO_BLK_F_TOPOLOGY,
  ]
  if (disk.readOnly) return featureSet(...features, VIRTIO_BLK_F_RO)
  if (disk.discard !== undefined) features.push(VIRTIO_BLK_F_DISCARD)
  if (disk.writeZeroes !== undefined) features.push(VIRTIO_BLK_F_WRITE_ZEROES)
  return featureSet(...features)
}

function identityBytes(identity: string): Uint8Array {
  const bytes = new Uint8Array(VIRTIO_BLK_ID_SIZE)
  if (!/^[\x20-\x7e]{0,20}$/.test(identity)) {
    throw new InvalidArgumentError('disk.identity', 'up to 20 ASCII characters', identity)
  }
  bytes.set(Buffer.from(identity, 'ascii'))
  return bytes
}

function powerOfTwo(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(Math.log2(value)) && value >= least && value <= most) return value
  throw new InvalidArgumentError(name, `a power of 2 from ${least} to ${most}`, value)
}

function field(name: string, value: number | undefined, most: number, least: number = 0): number {
  const number = value ?? least
  if (Number.isInteger(number) && number >= least && number <= most) return number
  throw new InvalidArgumentError(name, `an integer from ${least} to ${most}`, value)
}
