import { InvalidArgumentError } from '@xmc/interface'
import { type DeviceHost, deviceKind, type VirtioDevice } from './device.ts'
import { FaultReports } from './fault-reports.ts'
import {
  featureSet,
  hasFeature,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from './features.ts'
import { readConfiguration, writeConfiguration } from './internal/configuration-space.ts'
import { FeatureNegotiation } from './internal/feature-negotiation.ts'
import { GuestMapper } from './internal/guest-mapper.ts'
import { InterruptStatus } from './internal/interrupt-status.ts'
import { type PumpHost, QueuePump } from './internal/queue-pump.ts'
import { QueueRegisters } from './internal/queue-registers.ts'
import { RoomWait } from './internal/room-wait.ts'
import { checkTransport } from './internal/transport-check.ts'
import {
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_CONFIG_GENERATION,
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_DEVICE_FEATURES_SEL,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_INTERRUPT_CONFIGURATION,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_INTERRUPT_USED_BUFFER,
  VIRTIO_MMIO_MAGIC,
  VIRTIO_MMIO_MAGIC_VALUE,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_NUM_MAX,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_SEL,
  VIRTIO_MMIO_SHM_BASE_HIGH,
  VIRTIO_MMIO_SHM_BASE_LOW,
  VIRTIO_MMIO_SHM_LEN_HIGH,
  VIRTIO_MMIO_SHM_LEN_LOW,
  VIRTIO_MMIO_SIZE,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_VENDOR_ID,
  VIRTIO_MMIO_VERSION,
  VIRTIO_MMIO_VERSION_2,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FAILED,
  VIRTIO_STATUS_FEATURES_OK,
} from './registers.ts'
import { checkLayout } from './split-queue.ts'
import type { MmioTransportOptions, TransportStatistics } from './transport-options.ts'
import { TurnBudget } from './turn-budget.ts'

/**
 * The registers of a virtio device over MMIO, version 2 (virtio 1.2, 4.2), `VIRTIO_MMIO_SIZE` bytes:
 * negotiation, status, queues, notifications and reset for one device.
 *
 * `read` and `write` fit an MMIO region and never throw, whatever the guest does: what a driver may
 * not do is ignored and counted, and what the device cannot go on from sets DEVICE_NEEDS_RESET with a
 * configuration interrupt (2.1.2) and is kept in `fault`.
 *
 * # Reset and draining
 *
 * A reset, a queue that is taken away and a fault cut off the requests in flight: nothing of them is
 * published, and their memory is released when the device's backend is done with it, since nobody
 * can take back a system call that writes into guest pages. Until then `draining` is true, the status
 * register does not read 0 (2.4.1), nor QueueReady, and writes are ignored. A driver that waits for
 * 0 needs no more. A driver that does not (Linux over MMIO) has to be held: whoever dispatches the
 * guest's accesses awaits `drained()` after a write, when `draining` is true, before the guest's
 * processor goes on.
 */
export class MmioTransport {
  /** Bytes of the register range. */
  readonly size: number = VIRTIO_MMIO_SIZE
  /** The device behind it. */
  readonly device: VirtioDevice

  private readonly vendorId: number
  private readonly reports: FaultReports
  private readonly interrupt: InterruptStatus
  private readonly mapper: GuestMapper
  private readonly negotiation: FeatureNegotiation
  private readonly room: RoomWait
  private readonly pumps: readonly QueuePump[]
  private queues: readonly QueueRegisters[]

  private deviceStatus = 0
  private queueSelect = 0
  private configGeneration = 0
  private started = false
  private resetting = false
  private closed = false
  /** Counts ends of what a driver has set up: what was decided before one is not valid after it. */
  private ends = 0
  private bytesInFlight = 0
  private lastFault: Error | undefined
  private waiters: (() => void)[] = []
  private readonly counts = { notifications: 0, used: 0, resets: 0, ignored: 0 }

  /**
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a device that cannot be offered, and for an option that is missing
   * or that there is not
   */
  constructor(options: MmioTransportOptions) {
    checkTransport(options)
    const { device, memory } = options
    this.device = device
    this.vendorId = options.vendorId ?? VENDOR_ID
    this.reports = new FaultReports(
      options.name ?? `virtio ${deviceKind(device.deviceId)}`,
      options.onFault,
      options.reports,
    )
    this.interrupt = new InterruptStatus(options.interrupt, (error) => this.reports.report(error))
    this.mapper = new GuestMapper(memory)
    const required = [VIRTIO_F_VERSION_1]
    if (options.accessPlatform === 'required') required.push(VIRTIO_F_ACCESS_PLATFORM)
    this.negotiation = new FeatureNegotiation(
      device.features | TRANSPORT_FEATURES,
      featureSet(...required),
    )
    this.queues = device.queues.map(() => new QueueRegisters())
    this.room = new RoomWait(memory, patienceOf(options), () =>
      this.pumps.reduce((sum, { inFlight, waitingForRoom }) => sum + inFlight - waitingForRoom, 0),
    )
    const host = this.pumpHost(options)
    this.pumps = device.queues.map((queue, index) => new QueuePump(index, queue, host))
    device.attach?.(this.deviceHost())
  }

  /** The device status register (2.1). */
  get status(): number {
    return this.deviceStatus
  }

  /** Why the device stopped: the first fault since the last reset. */
  get fault(): Error | undefined {
    return this.lastFault
  }

  /** Requests, and maps of rings, that are not finished. */
  get inFlight(): number {
    return this.pumps.reduce((sum, pump) => sum + pump.inFlight, 0)
  }

  /** Ranges of guest memory that are mapped now, rings included. */
  get mappedRanges(): number {
    return this.mapper.mappedRanges
  }

  /** Whether requests that were cut off still hold guest memory. */
  get draining(): boolean {
    return this.pumps.some((pump) => pump.draining)
  }

  /** A snapshot of the counts. */
  get statistics(): TransportStatistics {
    const { pumps } = this
    return {
      ...this.counts,
      faults: this.reports.count,
      interrupts: this.interrupt.raised,
      mostInFlight: Math.max(0, ...pumps.map((pump) => pump.mostInFlight)),
      postponed: pumps.reduce((sum, { postponed }) => sum + postponed, 0),
      waits: this.room.waits,
      waiting: pumps.reduce((sum, { waitingForRoom }) => sum + waitingForRoom, 0),
      bytesInFlight: this.bytesInFlight,
    }
  }

  /** Resolves when `draining` is false. */
  drained(): Promise<void> {
    if (!this.draining) return Promise.resolve()
    return new Promise((resolve) => {
      this.waiters.push(resolve)
    })
  }

  /**
   * Takes the device from the guest, for a guest that is gone or a host that ends: as a reset, after
   * which nothing the guest writes has an effect.
   *
   * @returns resolves when nothing of the guest is mapped any more
   */
  close(): Promise<void> {
    this.closed = true
    this.reset()
    this.reports.flush()
    return this.drained()
  }

  /** Answers a read of `size` bytes at `offset` into the register range. */
  read(offset: number, size: number): number {
    const { ends } = this
    try {
      if (offset >= VIRTIO_MMIO_CONFIG) {
        return readConfiguration(this.device, offset, size) ?? this.ignore()
      }
      if (size === 4) return this.readRegister(offset)
    } catch (error) {
      this.fail(error, ends)
      return 0
    }
    return this.ignore()
  }

  /** Takes a write of the low `size` bytes of `value` at `offset` into the register range. */
  write(offset: number, value: number, size: number): void {
    if (this.closed || this.resetting) {
      this.ignore()
      return
    }
    const { ends } = this
    try {
      if (offset >= VIRTIO_MMIO_CONFIG) {
        if (!writeConfiguration(this.device, offset, value >>> 0, size)) this.ignore()
      } else if (size === 4) this.writeRegister(offset, value >>> 0)
      else this.ignore()
    } catch (error) {
      this.fail(error, ends)
    }
  }

  private readRegister(offset: number): number {
    switch (offset) {
      case VIRTIO_MMIO_INTERRUPT_STATUS:
        return this.interrupt.bits
      case VIRTIO_MMIO_MAGIC_VALUE:
        return VIRTIO_MMIO_MAGIC
      case VIRTIO_MMIO_VERSION:
        return VIRTIO_MMIO_VERSION_2
      case VIRTIO_MMIO_DEVICE_ID:
        return this.device.deviceId
      case VIRTIO_MMIO_VENDOR_ID:
        return this.vendorId
      case VIRTIO_MMIO_DEVICE_FEATURES:
        return this.negotiation.readDevice()
      case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return this.device.queues[this.queueSelect]?.size ?? 0
      case VIRTIO_MMIO_QUEUE_READY:
        return this.readQueueReady()
      case VIRTIO_MMIO_STATUS:
        return this.deviceStatus
      case VIRTIO_MMIO_SHM_LEN_LOW:
      case VIRTIO_MMIO_SHM_LEN_HIGH:
      case VIRTIO_MMIO_SHM_BASE_LOW:
      case VIRTIO_MMIO_SHM_BASE_HIGH:
        return 0xffff_ffff
      case VIRTIO_MMIO_CONFIG_GENERATION:
        return this.configGeneration
      default:
        return this.ignore()
    }
  }

  private writeRegister(offset: number, value: number): void {
    switch (offset) {
      case VIRTIO_MMIO_QUEUE_NOTIFY:
        this.notify(value)
        return
      case VIRTIO_MMIO_INTERRUPT_ACK:
        this.interrupt.clear(value)
        return
      case VIRTIO_MMIO_STATUS:
        this.writeStatus(value)
        return
      case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        this.negotiation.deviceSelect = value
        return
      case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        this.negotiation.driverSelect = value
        return
      case VIRTIO_MMIO_DRIVER_FEATURES:
        if ((this.deviceStatus & VIRTIO_STATUS_FEATURES_OK) !== 0) this.ignore()
        else this.negotiation.writeDriver(value)
        return
      case VIRTIO_MMIO_QUEUE_SEL:
        this.queueSelect = value
        return
      case VIRTIO_MMIO_QUEUE_READY:
        this.writeQueueReady(value)
        return
      default: {
        const queue = this.queues[this.queueSelect]
        if (queue === undefined || queue.ready || !queue.write(offset, value)) this.ignore()
      }
    }
  }

  private writeStatus(value: number): void {
    if (value === 0) {
      this.counts.resets += 1
      this.reset()
      return
    }
    // Bits stay until a reset (2.1.1); DEVICE_NEEDS_RESET is the device's.
    const added = value & ~this.deviceStatus
    this.deviceStatus |=
      added & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FAILED)
    if ((added & VIRTIO_STATUS_FEATURES_OK) !== 0) {
      const known = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER
      const inOrder = (this.deviceStatus & known) === known
      if (inOrder && this.negotiation.acceptable) this.deviceStatus |= VIRTIO_STATUS_FEATURES_OK
      else this.ignore()
    }
    if ((added & VIRTIO_STATUS_DRIVER_OK) !== 0) {
      if ((this.deviceStatus & VIRTIO_STATUS_FEATURES_OK) !== 0) this.driverOk()
      else this.ignore()
    }
  }

  private driverOk(): void {
    this.deviceStatus |= VIRTIO_STATUS_DRIVER_OK
    if (this.lastFault !== undefined) {
      this.interrupt.raise(VIRTIO_MMIO_INTERRUPT_CONFIGURATION)
      return
    }
    this.started = true
    const { ends } = this
    this.device.start?.(this.negotiation.accepted)
    for (const [index, queue] of this.queues.entries()) {
      // The device, or the fault of one queue, may have ended it: no further ring may be mapped.
      if (ends !== this.ends) return
      if (queue.ready) this.startQueue(index, queue)
    }
  }

  private startQueue(index: number, queue: QueueRegisters): void {
    const { accepted } = this.negotiation
    const layout = queue.layout(index, hasFeature(accepted, VIRTIO_F_EVENT_IDX))
    this.pumps[index]?.start(layout, hasFeature(accepted, VIRTIO_F_INDIRECT_DESC))
  }

  private readQueueReady(): number {
    const ready = this.queues[this.queueSelect]?.ready ?? false
    return ready || (this.pumps[this.queueSelect]?.draining ?? false) ? 1 : 0
  }

  private writeQueueReady(value: number): void {
    const index = this.queueSelect
    const queue = this.queues[index]
    const pump = this.pumps[index]
    if (queue === undefined || pump === undefined || value > 1) {
      this.ignore()
      return
    }
    if (value === 0) {
      queue.ready = false
      pump.cut()
      return
    }
    if (queue.ready || pump.draining) {
      this.ignore()
      return
    }
    const wrong = checkLayout(queue.layout(index, false), this.device.queues[index]?.size ?? 0)
    if (wrong !== undefined) {
      this.fail(wrong)
      return
    }
    queue.ready = true
    if (this.started) this.startQueue(index, queue)
  }

  private notify(index: number): void {
    const pump = this.pumps[index]
    if (pump === undefined || !this.started || this.queues[index]?.ready !== true) {
      this.ignore()
      return
    }
    this.counts.notifications += 1
    pump.kick()
  }

  private reset(): void {
    if (this.resetting) return
    // First: whoever is called below may write to the registers.
    this.resetting = true
    this.stop()
    this.interrupt.clear(ALL_INTERRUPTS)
    this.settle()
  }

  /** Ends what was cut off, when the last of it is done. */
  private settle(): void {
    if (this.draining) return
    if (this.resetting) {
      this.resetting = false
      this.deviceStatus = 0
      this.queueSelect = 0
      this.queues = this.queues.map(() => new QueueRegisters())
      this.negotiation.reset()
      this.lastFault = undefined
    }
    const { waiters } = this
    this.waiters = []
    for (const resolve of waiters) resolve()
  }

  private stop(): void {
    const { started } = this
    this.started = false
    this.ends += 1
    for (const pump of this.pumps) pump.cut()
    if (!started) return
    try {
      this.device.stop?.()
    } catch (error) {
      this.reports.report(error)
    }
  }

  /** Sets DEVICE_NEEDS_RESET, unless what the error is about has ended: by `ends`, when that began. */
  private fail(error: unknown, began: number = this.ends): void {
    this.reports.report(error)
    if (this.resetting || this.closed || this.lastFault !== undefined || began !== this.ends) return
    this.lastFault = error instanceof Error ? error : new Error(String(error))
    this.deviceStatus |= VIRTIO_STATUS_DEVICE_NEEDS_RESET
    this.stop()
    // The guest may have been called, and reset it.
    const needed = VIRTIO_STATUS_DEVICE_NEEDS_RESET | VIRTIO_STATUS_DRIVER_OK
    if ((this.deviceStatus & needed) === needed) {
      this.interrupt.raise(VIRTIO_MMIO_INTERRUPT_CONFIGURATION)
    }
  }

  private ignore(): 0 {
    this.counts.ignored += 1
    return 0
  }

  private pumpHost(options: MmioTransportOptions): PumpHost {
    const limit = options.bytesInFlight ?? BYTES_IN_FLIGHT
    return {
      device: this.device,
      mapper: this.mapper,
      budget: options.turnBudget ?? new TurnBudget(),
      room: this.room,
      asynchronous: options.mapping === 'asynchronous',
      hasRoom: () => this.bytesInFlight < limit,
      account: (count) => {
        this.bytesInFlight += count
      },
      fault: (error) => this.fail(error),
      report: (error) => this.reports.report(error),
      used: (notify) => {
        this.counts.used += 1
        if (notify) this.interrupt.raise(VIRTIO_MMIO_INTERRUPT_USED_BUFFER)
      },
      cutOffDone: () => this.settle(),
    }
  }

  private deviceHost(): DeviceHost {
    return {
      resume: (queue) => this.pumps[queue]?.kick(),
      configurationChanged: () => {
        this.configGeneration = (this.configGeneration + 1) >>> 0
        if (this.started) this.interrupt.raise(VIRTIO_MMIO_INTERRUPT_CONFIGURATION)
      },
    }
  }
}

/** "XMC", little-endian. */
const VENDOR_ID = 0x0043_4d58

const BYTES_IN_FLIGHT = 64 * 1024 * 1024

const TRANSPORT_FEATURES = featureSet(
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
  VIRTIO_F_ACCESS_PLATFORM,
)

const ALL_INTERRUPTS = VIRTIO_MMIO_INTERRUPT_USED_BUFFER | VIRTIO_MMIO_INTERRUPT_CONFIGURATION

const ROOM_PATIENCE = 10_000

function patienceOf({ roomPatience = ROOM_PATIENCE }: MmioTransportOptions): number {
  if (roomPatience >= 0) return roomPatience
  throw new InvalidArgumentError('roomPatience', 'a number of milliseconds from 0', roomPatience)
}
