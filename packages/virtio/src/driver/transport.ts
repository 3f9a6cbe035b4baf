import { setTimeout as delay } from 'node:timers/promises'
import { ClosedError, checkMethods, checkOptions, InvalidArgumentError } from '@xmc/interface'
import { hasFeature, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../features.ts'
import {
  VIRTIO_ID_NONE,
  VIRTIO_MMIO_CONFIG_GENERATION,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_STATUS,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FAILED,
  VIRTIO_STATUS_FEATURES_OK,
} from '../registers.ts'
import { identifyTransport } from './discovery.ts'
import {
  DeviceNeedsResetError,
  DeviceNotStartedError,
  DeviceProtocolError,
  DeviceResetError,
  DeviceTimeoutError,
  DmaBrokenError,
  FeatureNegotiationError,
  NoDeviceError,
} from './errors.ts'
import {
  chooseFeatures,
  type FeatureRequest,
  type RegisterSteps,
  readDeviceFeatures,
  writeDriverFeatures,
} from './feature-negotiation.ts'
import { InterruptService } from './interrupt-service.ts'
import type { DmaMapper, GuestPages } from './ports.ts'
import { QueueRing } from './queue-ring.ts'
import { installRing, selectQueue } from './queue-setup.ts'
import { RegisterAccess } from './register-access.ts'
import { isQueueSize } from './ring-writer.ts'
import { type DriverStatistics, newStatistics } from './statistics.ts'
import type {
  DriverQueueOptions,
  DriverTransportListener,
  DriverTransportOptions,
  ResetAttachment,
} from './transport-options.ts'
import { DriverVirtqueue, type QueueUser } from './virtqueue.ts'
import { DEFAULT_TIMEOUT_MILLISECONDS, Watchdog } from './watchdog.ts'

/** Elements of a queue, where nothing else is said and the device allows it. */
const DEFAULT_QUEUE_SIZE = 256

/** Descriptors from which a chain goes through an indirect table, where nothing else is said. */
const DEFAULT_INDIRECT_FROM = 4

/** Reads of the configuration that may be torn in a row. */
const CONFIGURATION_ATTEMPTS = 100

/**
 * Where a driver is with its device. `failed` is left by a reset only; `closed` never.
 */
export type DriverState = 'reset' | 'resetting' | 'negotiated' | 'live' | 'failed' | 'closed'

/**
 * A virtio device behind virtio-mmio, from the guest's side: status, features, queues, interrupt,
 * configuration and reset (virtio 1.2, 3.1 and 4.2). Drivers of single kinds of device stand on it.
 *
 * The order is `negotiate`, `addQueue` or `addRing`, `setDriverOk`; `reset` is possible at any time, also
 * while another call runs, which then throws DeviceResetError.
 *
 * Every call can throw MmioAccessError `ERR_XMC_MMIO_ACCESS`, DeviceTimeoutError
 * `ERR_XMC_DEVICE_TIMEOUT`, DeviceResetError `ERR_XMC_DEVICE_RESET` and ClosedError `ERR_XMC_CLOSED`.
 */
export class DriverTransport {
  /** The registers, for whoever wants to do what a driver must not. */
  readonly registers: RegisterAccess
  /** Counted since the transport was made. */
  readonly statistics: DriverStatistics = newStatistics()
  readonly #pages: GuestPages
  readonly #dma: DmaMapper
  readonly #listener: DriverTransportListener
  readonly #watchdog: Watchdog
  readonly #interrupts: InterruptService
  #state: DriverState = 'reset'
  #failure: Error | undefined
  /** Counts resets and failures: a step that waits for a register sees that it is out of date. */
  #epoch = 0
  #resetting: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #diagnosing = false
  #features = 0n
  #queues: DriverVirtqueue[] = []
  #usedListeners: (() => void)[] = []
  #attachments: ResetAttachment[] = []

  /** @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a time limit out of range */
  constructor(options: DriverTransportOptions, listener: DriverTransportListener = {}) {
    checkOptions('DriverTransport', options, {
      bus: true,
      address: true,
      interrupt: true,
      pages: true,
      dma: true,
      timeoutMilliseconds: true,
    })
    checkMethods('bus', options.bus, ['read', 'write'])
    checkMethods('interrupt', options.interrupt, ['subscribe'])
    checkMethods('pages', options.pages, ['allocate', 'free', 'bytes'])
    checkMethods('dma', options.dma, ['map', 'unmap'])
    this.#pages = options.pages
    this.#dma = options.dma
    this.#listener = listener
    this.#watchdog = new Watchdog(options.timeoutMilliseconds ?? DEFAULT_TIMEOUT_MILLISECONDS, () =>
      this.#turn(),
    )
    this.registers = new RegisterAccess(options.bus, options.address, this.#watchdog)
    this.#interrupts = new InterruptService({
      line: options.interrupt,
      registers: this.registers,
      statistics: this.statistics,
      sources: {
        disableInterrupts: () => this.#disableInterrupts(),
        enableInterrupts: () => this.#enableInterrupts(),
        process: () => this.#process(),
        configurationChanged: () => this.#configurationChanged(),
        fail: (error) => this.fail(error),
      },
    })
  }

  /** Where the driver is with its device. */
  get state(): DriverState {
    return this.#state
  }

  /** Why the device was given up, while it is. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /**
   * Counts resets and failures: what was begun at another count is out of date, and must change nothing.
   */
  get epoch(): number {
    return this.#epoch
  }

  /**
   * For what takes several steps: a later step must not go on when a reset or a failure came between.
   *
   * @throws DeviceResetError `ERR_XMC_DEVICE_RESET`, or why the device was given up
   */
  requireEpoch(epoch: number): void {
    if (epoch !== this.#epoch) throw this.#failure ?? new DeviceResetError()
  }

  /** The features that were negotiated, as a set. */
  get features(): bigint {
    return this.#features
  }

  /** What a call that needs a live device ends with now; undefined when it is live. */
  get obstacle(): Error | undefined {
    if (this.#closing !== undefined) return new ClosedError('the driver')
    if (this.#dma.broken) return new DmaBrokenError()
    if (this.#state === 'live') return undefined
    if (this.#state === 'resetting') return new DeviceResetError()
    return this.#failure ?? new DeviceNotStartedError()
  }

  /**
   * Reads what device there is.
   *
   * @throws NoDeviceError `ERR_XMC_NO_DEVICE` when there is none, or when `deviceId` is given and another one is
   */
  async identify(deviceId?: number): Promise<{ deviceId: number; vendorId: number }> {
    this.#requireOpen()
    const identity = await identifyTransport(this.registers)
    const { address } = this.registers
    if ('problem' in identity) throw new NoDeviceError(address, identity.problem)
    if (identity.deviceId === VIRTIO_ID_NONE) {
      throw new NoDeviceError(address, 'its device id is 0: the slot is empty')
    }
    if (deviceId !== undefined && identity.deviceId !== deviceId) {
      throw new NoDeviceError(address, `its device id is ${identity.deviceId}, not ${deviceId}`)
    }
    return identity
  }

  /**
   * Resets the device and agrees with it on features: steps 1 to 6 of virtio 1.2, 3.1.1. Returns the
   * features that were taken: those required and those wanted that are offered, VIRTIO_F_VERSION_1, and
   * VIRTIO_F_ACCESS_PLATFORM, which is required when addresses are the platform's.
   *
   * @throws FeatureNegotiationError `ERR_XMC_FEATURES`; the device's status is FAILED then
   * @throws DmaBrokenError `ERR_XMC_DMA_BROKEN`
   */
  async negotiate(request: FeatureRequest): Promise<bigint> {
    await this.reset()
    // Of several that waited for one reset, the last has the device: steps of the others are out of date.
    this.#epoch++
    const steps = this.#steps()
    let status = VIRTIO_STATUS_ACKNOWLEDGE
    await steps.write(VIRTIO_MMIO_STATUS, status)
    status |= VIRTIO_STATUS_DRIVER
    await steps.write(VIRTIO_MMIO_STATUS, status)
    try {
      const offered = await readDeviceFeatures(steps)
      const taken = chooseFeatures(offered, request, this.#dma.needsAccessPlatform)
      await writeDriverFeatures(steps, taken)
      status |= VIRTIO_STATUS_FEATURES_OK
      await steps.write(VIRTIO_MMIO_STATUS, status)
      const answer = await steps.read(VIRTIO_MMIO_STATUS)
      if ((answer & VIRTIO_STATUS_FEATURES_OK) === 0) {
        throw new FeatureNegotiationError(offered, taken, 'the device refuses this set of features')
      }
      this.#features = taken
      this.#state = 'negotiated'
      return taken
    } catch (error) {
      if (error instanceof FeatureNegotiationError) {
        await steps.write(VIRTIO_MMIO_STATUS, status | VIRTIO_STATUS_FAILED)
      }
      throw error
    }
  }

  /**
   * Sets up queue `index` for chains that `user` gets back.
   *
   * @throws as {@link DriverTransport.addRing}
   */
  async addQueue(
    index: number,
    user: QueueUser,
    options: DriverQueueOptions = {},
  ): Promise<DriverVirtqueue> {
    checkOptions('addQueue', options, { size: true, indirectFrom: true, keepTables: true })
    const { size = DEFAULT_QUEUE_SIZE, indirectFrom = DEFAULT_INDIRECT_FROM } = options
    if (!(indirectFrom >= 2)) {
      throw new InvalidArgumentError('indirectFrom', 'a number from 2', indirectFrom)
    }
    const ring = await this.addRing(index, size)
    const epoch = this.#epoch
    const queue = new DriverVirtqueue({
      index,
      ring: ring.writer,
      user,
      policy: {
        eventIndex: hasFeature(this.#features, VIRTIO_F_EVENT_IDX),
        indirectDescriptors: hasFeature(this.#features, VIRTIO_F_INDIRECT_DESC),
        indirectFrom,
        keepTables: options.keepTables ?? false,
      },
      pages: this.#pages,
      dma: this.#dma,
      watchdog: this.#watchdog,
      statistics: this.statistics,
      notify: () => this.notify(index),
      // A notification of old may fail late.
      fail: (error) => {
        if (epoch === this.#epoch) this.fail(error)
      },
    })
    this.#queues.push(queue)
    return queue
  }

  /**
   * Sets up queue `index` on memory that the driver then leaves alone, for whoever writes rings
   * himself: the steps of virtio 1.2, 4.2.3.2. The memory is freed by the next reset. `onUsed` is
   * called with every interrupt.
   *
   * @throws NoQueueError `ERR_XMC_NO_QUEUE` when the device has no such queue, or it is in use
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a size that is no power of 2 up to 32,768
   * @throws GuestMemoryExhaustedError `ERR_XMC_GUEST_MEMORY_EXHAUSTED`, DmaExhaustedError
   * `ERR_XMC_DMA_EXHAUSTED`, DmaBrokenError `ERR_XMC_DMA_BROKEN`
   */
  async addRing(index: number, size: number, onUsed?: () => void): Promise<QueueRing> {
    if (!isQueueSize(size)) {
      throw new InvalidArgumentError('size', 'a power of 2 up to 32768', size)
    }
    const steps = this.#steps()
    const elements = await selectQueue(steps, index, size)
    const ring = new QueueRing(elements, this.#pages, this.#dma)
    this.#attachments.push(ring)
    if (onUsed !== undefined) this.#usedListeners.push(onUsed)
    await installRing(steps, ring)
    return ring
  }

  /** Has something closed after the next reset, when the device cannot reach it any more. */
  attach(attachment: ResetAttachment): void {
    this.#attachments.push(attachment)
  }

  /** Lets the device work: step 8 of virtio 1.2, 3.1.1. */
  async setDriverOk(): Promise<void> {
    const steps = this.#steps()
    if (this.#state !== 'negotiated') throw new DeviceNotStartedError()
    this.#interrupts.start()
    await steps.write(
      VIRTIO_MMIO_STATUS,
      VIRTIO_STATUS_ACKNOWLEDGE |
        VIRTIO_STATUS_DRIVER |
        VIRTIO_STATUS_FEATURES_OK |
        VIRTIO_STATUS_DRIVER_OK,
    )
    this.#state = 'live'
  }

  /** Tells the device to look at queue `index` (virtio 1.2, 4.2.3.3). */
  async notify(index: number): Promise<void> {
    await this.registers.write(VIRTIO_MMIO_QUEUE_NOTIFY, index)
  }

  /**
   * Reads several fields of the configuration as they were at one time: repeats `read` while
   * ConfigGeneration changes (virtio 1.2, 2.5.1).
   *
   * @throws DeviceProtocolError `ERR_XMC_DEVICE_PROTOCOL` when it goes on changing
   */
  async readConfiguration<Result>(
    read: (registers: RegisterAccess) => Promise<Result>,
  ): Promise<Result> {
    for (let attempt = 0; attempt < CONFIGURATION_ATTEMPTS; attempt++) {
      const before = await this.registers.read(VIRTIO_MMIO_CONFIG_GENERATION)
      const result = await read(this.registers)
      if ((await this.registers.read(VIRTIO_MMIO_CONFIG_GENERATION)) === before) return result
    }
    throw new DeviceProtocolError('2.5.1', 'the configuration does not stop changing')
  }

  /**
   * Resets the device, waits until it says that it is reset (virtio 1.2, 2.4 and 4.2.2), takes
   * everything back from it, and ends every request with DeviceResetError, or with what had made it fail.
   *
   * @throws DmaBrokenError `ERR_XMC_DMA_BROKEN` when the device still had a buffer
   */
  async reset(): Promise<void> {
    this.#requireOpen()
    await this.#resetOnce()
  }

  /** Resets the device and ends the driver, which refuses every later call; the second time, nothing more. */
  async close(): Promise<void> {
    this.#closing ??= this.#resetOnce().finally(() => {
      this.#state = 'closed'
    })
    await this.#closing
  }

  /** Gives the device up: every request ends with `error`, and only a reset helps. */
  fail(cause: unknown): void {
    if (this.#state !== 'negotiated' && this.#state !== 'live') return
    const error = cause instanceof Error ? cause : new Error(String(cause))
    this.#state = 'failed'
    this.#failure = error
    this.#stop()
    this.#end(error)
  }

  /** Every request ends with `error`, whoever made it: the device will do none of them. */
  #end(error: Error): void {
    for (const queue of this.#queues) queue.fail(error)
    this.#listener.failed?.(error)
  }

  #resetOnce(): Promise<void> {
    this.#resetting ??= this.#reset().finally(() => {
      this.#resetting = undefined
    })
    return this.#resetting
  }

  async #reset(): Promise<void> {
    this.#state = 'resetting'
    this.#stop()
    try {
      await this.registers.write(VIRTIO_MMIO_STATUS, 0)
      await this.#untilReset()
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error))
      this.#state = 'failed'
      this.#failure = failure
      this.#end(failure)
      throw failure
    }
    const reason = this.#failure ?? new DeviceResetError()
    const queues = this.#queues
    if (!this.#takeBack(reason)) this.#failure = new DmaBrokenError()
    else this.#failure = this.#dma.broken ? new DmaBrokenError() : undefined
    this.statistics.resets++
    this.#state = this.#failure === undefined ? 'reset' : 'failed'
    for (const queue of queues) queue.fail(reason)
    this.#listener.failed?.(reason)
    if (this.#failure !== undefined) throw this.#failure
  }

  /** What is under way on the device's side is not waited for any more. */
  #stop(): void {
    this.#epoch++
    this.#interrupts.stop()
    for (const queue of this.#queues) queue.stop()
  }

  #takeBack(reason: Error): boolean {
    let clean = true
    for (const queue of this.#queues) if (!queue.close(reason)) clean = false
    for (const attachment of this.#attachments) if (!attachment.close()) clean = false
    this.#queues = []
    this.#attachments = []
    this.#usedListeners = []
    this.#features = 0n
    return clean
  }

  async #untilReset(): Promise<void> {
    const since = this.#watchdog.turn
    this.#watchdog.begin()
    try {
      while ((await this.registers.read(VIRTIO_MMIO_STATUS)) !== 0) {
        if (this.#watchdog.isOverdue(since)) {
          throw new DeviceTimeoutError('the reset', this.#watchdog.milliseconds)
        }
        await delay(1)
      }
    } finally {
      this.#watchdog.end()
    }
  }

  #steps(): RegisterSteps {
    this.#requireOpen()
    if (this.#failure !== undefined) throw this.#failure
    const epoch = this.#epoch
    const requireCurrent = (): void => this.requireEpoch(epoch)
    return {
      read: async (register) => {
        requireCurrent()
        const value = await this.registers.read(register)
        requireCurrent()
        return value
      },
      write: async (register, value) => {
        requireCurrent()
        await this.registers.write(register, value)
        requireCurrent()
      },
    }
  }

  #requireOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError('the driver')
  }

  #disableInterrupts(): void {
    for (const queue of this.#queues) queue.disableInterrupts()
  }

  #enableInterrupts(): boolean {
    let more = false
    for (const queue of this.#queues) if (queue.enableInterrupts()) more = true
    return more
  }

  #process(): boolean {
    const before = this.statistics.completions
    for (const queue of this.#queues) queue.process()
    for (const listener of this.#usedListeners) listener()
    return this.statistics.completions !== before
  }

  async #configurationChanged(): Promise<void> {
    const epoch = this.#epoch
    const status = await this.registers.read(VIRTIO_MMIO_STATUS)
    if (epoch !== this.#epoch) return
    if (status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) this.fail(new DeviceNeedsResetError(status))
    else if (status === 0) this.fail(new DeviceResetError())
    else await this.#listener.configurationChanged?.()
  }

  #turn(): void {
    this.registers.rejectOverdue()
    if (this.#diagnosing || this.#failure !== undefined) return
    if (!this.#queues.some((queue) => queue.hasOverdue())) return
    this.#diagnosing = true
    void this.#diagnose().finally(() => {
      this.#diagnosing = false
    })
  }

  /** Finds out why a request is overdue, and gives the device up. Never rejects. */
  async #diagnose(): Promise<void> {
    const epoch = this.#epoch
    const unsignalled = this.#queues.reduce((sum, queue) => sum + queue.unprocessed, 0)
    let error: unknown = new DeviceTimeoutError(
      'a request',
      this.#watchdog.milliseconds,
      unsignalled,
    )
    try {
      const status = await this.registers.read(VIRTIO_MMIO_STATUS)
      if (status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) error = new DeviceNeedsResetError(status)
      // By somebody else, who does not tell: the host, when it takes the device away.
      else if (status === 0) error = new DeviceResetError()
    } catch (cause) {
      error = cause
    }
    if (epoch === this.#epoch) this.fail(error)
  }
}
