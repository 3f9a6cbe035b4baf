import { XmcError } from '@xmc/interface'

/**
 * `ERR_XMC_DMA_BROKEN`: the device still had a buffer mapped when the driver took it back. Its grants
 * and pages are leaked on purpose, since the device may still write there, and every later call
 * fails, after a reset too: Linux disables such a device in the same way.
 */
export class DmaBrokenError extends XmcError {
  constructor(options?: ErrorOptions) {
    super(
      'ERR_XMC_DMA_BROKEN',
      'the device still had a buffer mapped when it was taken back: it is disabled for ever; a device must unmap before it completes a request or a reset',
      options,
    )
  }
}

/** `ERR_XMC_DMA_EXHAUSTED`: a buffer cannot be given to the device, though no request is in flight. */
export class DmaExhaustedError extends XmcError {
  constructor() {
    super(
      'ERR_XMC_DMA_EXHAUSTED',
      'no addresses are left to give buffers to the device with, and no request is in flight that would free some: unmap buffers of other devices, use smaller ones, or let the grant table be larger',
    )
  }
}

/** `ERR_XMC_GUEST_MEMORY_EXHAUSTED`: the guest has no run of free frames of that length. */
export class GuestMemoryExhaustedError extends XmcError {
  /** Contiguous frames that were needed. */
  readonly count: number

  constructor(count: number) {
    super(
      'ERR_XMC_GUEST_MEMORY_EXHAUSTED',
      `no ${count} contiguous guest frames are free: release buffers or give the driver more memory`,
    )
    this.count = count
  }
}

/** `ERR_XMC_DEVICE_NEEDS_RESET`: the device met an error that only a reset cures (virtio 1.2, 2.1.2). */
export class DeviceNeedsResetError extends XmcError {
  /** Value of the status register. */
  readonly status: number

  constructor(status: number) {
    super(
      'ERR_XMC_DEVICE_NEEDS_RESET',
      `the device asks for a reset (status 0x${status.toString(16)}): reset it and start it again`,
    )
    this.status = status
  }
}

/** `ERR_XMC_DEVICE_RESET`: the device was reset before the call was done. */
export class DeviceResetError extends XmcError {
  constructor() {
    super(
      'ERR_XMC_DEVICE_RESET',
      'the device was reset before the call was done: start it and repeat the call',
    )
  }
}

/** `ERR_XMC_DEVICE_TIMEOUT`: the device did not answer in time; only a reset gives the buffers back. */
export class DeviceTimeoutError extends XmcError {
  /** What was waited for. */
  readonly operation: string
  /** The limit. */
  readonly milliseconds: number
  /** Requests that the device had completed without an interrupt. */
  readonly unsignalled: number

  constructor(operation: string, milliseconds: number, unsignalled = 0) {
    const lost =
      unsignalled > 0 ? `; ${unsignalled} requests were completed without an interrupt` : ''
    super(
      'ERR_XMC_DEVICE_TIMEOUT',
      `${operation} was not done within ${milliseconds} ms${lost}: reset the device, or raise timeoutMilliseconds`,
    )
    this.operation = operation
    this.milliseconds = milliseconds
    this.unsignalled = unsignalled
  }
}

/** `ERR_XMC_DEVICE_PROTOCOL`: the device did what the specification forbids. */
export class DeviceProtocolError extends XmcError {
  /** Section of virtio 1.2 that it is against. */
  readonly section: string

  constructor(section: string, problem: string) {
    super(
      'ERR_XMC_DEVICE_PROTOCOL',
      `the device is against virtio 1.2, ${section}: ${problem}: reset it, and correct the device`,
    )
    this.section = section
  }
}

/** `ERR_XMC_MMIO_ACCESS`: an access to the device's registers failed; `cause` says why. */
export class MmioAccessError extends XmcError {
  /** Offset of the register from the start of the device's registers. */
  readonly register: number

  constructor(kind: 'read' | 'write', register: number, cause: unknown) {
    super(
      'ERR_XMC_MMIO_ACCESS',
      `the ${kind} of register 0x${register.toString(16)} failed: look at the cause; the device model may be gone`,
      { cause },
    )
    this.register = register
  }
}

/** `ERR_XMC_NO_DEVICE`: there is no virtio device of the wanted kind at the address. */
export class NoDeviceError extends XmcError {
  /** Address of the registers. */
  readonly address: number | bigint

  constructor(address: number | bigint, problem: string) {
    super(
      'ERR_XMC_NO_DEVICE',
      `no such virtio device at 0x${address.toString(16)}: ${problem}: look for it with discoverTransports`,
    )
    this.address = address
  }
}

/** `ERR_XMC_FEATURES`: device and driver cannot agree on features (virtio 1.2, 2.2 and 3.1.1). */
export class FeatureNegotiationError extends XmcError {
  /** Features that the device offers. */
  readonly offered: bigint
  /** Features that the driver cannot do without, or asked for. */
  readonly requested: bigint

  constructor(offered: bigint, requested: bigint, problem: string) {
    super(
      'ERR_XMC_FEATURES',
      `${problem} (offered 0x${offered.toString(16)}, requested 0x${requested.toString(16)}): use another device, or ask for less`,
    )
    this.offered = offered
    this.requested = requested
  }
}

/** `ERR_XMC_NO_QUEUE`: the device has no such queue, or has it in use. */
export class NoQueueError extends XmcError {
  /** Number of the queue. */
  readonly index: number

  constructor(index: number, problem: string) {
    super('ERR_XMC_NO_QUEUE', `queue ${index} ${problem}: reset the device, or use another queue`)
    this.index = index
  }
}

/** `ERR_XMC_DEVICE_NOT_STARTED`: the call needs a device that was started. */
export class DeviceNotStartedError extends XmcError {
  constructor() {
    super('ERR_XMC_DEVICE_NOT_STARTED', 'the device is not started: call start() first')
  }
}

/** `ERR_XMC_BLOCK_IO`: the device answered a request with `VIRTIO_BLK_S_IOERR` (virtio 1.2, 5.2.6). */
export class BlockIoError extends XmcError {
  /** `VIRTIO_BLK_T_*` of the request. */
  readonly type: number
  /** First sector of the request. */
  readonly sector: number

  constructor(type: number, sector: number) {
    super(
      'ERR_XMC_BLOCK_IO',
      `the device failed request type ${type} at sector ${sector} (VIRTIO_BLK_S_IOERR): see what the device reports`,
    )
    this.type = type
    this.sector = sector
  }
}

/** `ERR_XMC_BLOCK_UNSUPPORTED`: the device, or what was negotiated with it, has no such request. */
export class BlockUnsupportedError extends XmcError {
  /** `VIRTIO_BLK_T_*` of the request. */
  readonly type: number

  constructor(type: number) {
    super(
      'ERR_XMC_BLOCK_UNSUPPORTED',
      `the device has no request type ${type}: look at its features first`,
    )
    this.type = type
  }
}

/** `ERR_XMC_DISK_READ_ONLY`: a change was asked of a disk that is read-only (virtio 1.2, 5.2.6.1). */
export class DiskReadOnlyError extends XmcError {
  constructor() {
    super('ERR_XMC_DISK_READ_ONLY', 'the disk is read-only (VIRTIO_BLK_F_RO): attach it writable')
  }
}
