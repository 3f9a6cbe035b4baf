import { InvalidArgumentError } from '@xmc/interface'
import {
  VIRTIO_ID_NONE,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_MAGIC,
  VIRTIO_MMIO_MAGIC_VALUE,
  VIRTIO_MMIO_SIZE,
  VIRTIO_MMIO_VENDOR_ID,
  VIRTIO_MMIO_VERSION,
  VIRTIO_MMIO_VERSION_2,
} from '../registers.ts'
import type { MmioBus } from './ports.ts'
import { RegisterAccess } from './register-access.ts'
import { DEFAULT_TIMEOUT_MILLISECONDS, Watchdog } from './watchdog.ts'

/** Where to look for transports. */
export interface DiscoveryRange {
  /** Address of the first slot. */
  readonly address: number | bigint
  /** Slots, at least 1. */
  readonly count: number
  /** Bytes from one slot to the next, at least 0x200. Default 0x200. */
  readonly stride?: number | undefined
  /** Limit of each access. Default 30,000. */
  readonly timeoutMilliseconds?: number | undefined
  /**
   * Is told of slots without a usable device, other than empty ones: no magic value, or a version
   * that is not 2 (4.2.2.2 lets a driver report these).
   */
  readonly onIgnored?: ((slot: number, problem: string) => void) | undefined
}

/** A device that was found. */
export interface DiscoveredTransport {
  /** Number of the slot, from 0. */
  readonly slot: number
  /** Address of its registers. */
  readonly address: number | bigint
  /** `VIRTIO_ID_*`. */
  readonly deviceId: number
  readonly vendorId: number
}

/**
 * Looks for virtio-mmio devices of version 2 in a range of slots, in order. Slots without the magic
 * value, with another version, or with device id 0 are passed over (virtio 1.2, 4.2.2.2).
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a count below 1 or a stride below 0x200
 * @throws MmioAccessError `ERR_XMC_MMIO_ACCESS`, DeviceTimeoutError `ERR_XMC_DEVICE_TIMEOUT`
 */
export async function discoverTransports(
  bus: MmioBus,
  range: DiscoveryRange,
): Promise<DiscoveredTransport[]> {
  const { address, count, stride = VIRTIO_MMIO_SIZE, onIgnored } = range
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new InvalidArgumentError('count', 'an integer from 1', count)
  }
  if (!Number.isSafeInteger(stride) || stride < VIRTIO_MMIO_SIZE) {
    throw new InvalidArgumentError('stride', `an integer from ${VIRTIO_MMIO_SIZE}`, stride)
  }
  const found: DiscoveredTransport[] = []
  for (let slot = 0; slot < count; slot++) {
    const at =
      typeof address === 'bigint' ? address + BigInt(slot * stride) : address + slot * stride
    const watchdog = new Watchdog(range.timeoutMilliseconds ?? DEFAULT_TIMEOUT_MILLISECONDS, () =>
      registers.rejectOverdue(),
    )
    const registers = new RegisterAccess(bus, at, watchdog)
    const identity = await identifyTransport(registers)
    if ('problem' in identity) onIgnored?.(slot, identity.problem)
    else if (identity.deviceId !== VIRTIO_ID_NONE) found.push({ slot, address: at, ...identity })
  }
  return found
}

/** Reads what is behind a transport: its ids, 0 for none, or why it is no transport that can be used. */
export async function identifyTransport(
  registers: RegisterAccess,
): Promise<{ deviceId: number; vendorId: number } | { problem: string }> {
  const magic = await registers.read(VIRTIO_MMIO_MAGIC_VALUE)
  if (magic !== VIRTIO_MMIO_MAGIC) {
    return { problem: `its magic value is 0x${magic.toString(16)}, not "virt"` }
  }
  const version = await registers.read(VIRTIO_MMIO_VERSION)
  if (version !== VIRTIO_MMIO_VERSION_2) {
    return { problem: `its version is ${version}, not ${VIRTIO_MMIO_VERSION_2}` }
  }
  const deviceId = await registers.read(VIRTIO_MMIO_DEVICE_ID)
  if (deviceId === VIRTIO_ID_NONE) return { deviceId, vendorId: 0 }
  return { deviceId, vendorId: await registers.read(VIRTIO_MMIO_VENDOR_ID) }
}
