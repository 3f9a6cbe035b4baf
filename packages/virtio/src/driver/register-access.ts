import { VIRTIO_MMIO_CONFIG } from '../registers.ts'
import { DeviceTimeoutError, MmioAccessError } from './errors.ts'
import type { AccessSize, MmioBus } from './ports.ts'
import type { Watchdog } from './watchdog.ts'

interface PendingAccess {
  readonly since: number
  readonly operation: string
  readonly reject: (error: Error) => void
}

/**
 * The registers of one virtio-mmio device, each access checked for errors of the bus and for the time
 * limit. Offsets are those of `VIRTIO_MMIO_*`. Every access is 4 bytes unless said otherwise (virtio 1.2,
 * 4.2.2.2).
 */
export class RegisterAccess {
  /** Address of the first register. */
  readonly address: number | bigint
  readonly #bus: MmioBus
  readonly #watchdog: Watchdog
  readonly #pending = new Set<PendingAccess>()

  constructor(bus: MmioBus, address: number | bigint, watchdog: Watchdog) {
    this.#bus = bus
    this.address = address
    this.#watchdog = watchdog
  }

  /**
   * Reads a register.
   *
   * @throws MmioAccessError `ERR_XMC_MMIO_ACCESS`, DeviceTimeoutError `ERR_XMC_DEVICE_TIMEOUT`
   */
  async read(register: number, size: AccessSize = 4): Promise<number> {
    return await this.#guard('read', register, () => this.#bus.read(this.#at(register), size))
  }

  /** Writes a register. @throws as {@link RegisterAccess.read} */
  async write(register: number, value: number, size: AccessSize = 4): Promise<void> {
    await this.#guard('write', register, () => this.#bus.write(this.#at(register), value, size))
  }

  /** Reads `size` bytes of the configuration space at `offset`. @throws as {@link RegisterAccess.read} */
  async readConfiguration(offset: number, size: AccessSize): Promise<number> {
    return await this.read(VIRTIO_MMIO_CONFIG + offset, size)
  }

  /** Writes `size` bytes of the configuration space at `offset`. @throws as {@link RegisterAccess.read} */
  async writeConfiguration(offset: number, value: number, size: AccessSize): Promise<void> {
    await this.write(VIRTIO_MMIO_CONFIG + offset, value, size)
  }

  /** Rejects the accesses that have taken too long. For the watchdog. */
  rejectOverdue(): void {
    for (const access of this.#pending) {
      if (!this.#watchdog.isOverdue(access.since)) continue
      access.reject(new DeviceTimeoutError(access.operation, this.#watchdog.milliseconds))
    }
  }

  #at(register: number): number | bigint {
    return typeof this.address === 'bigint'
      ? this.address + BigInt(register)
      : this.address + register
  }

  #guard<Value>(
    kind: 'read' | 'write',
    register: number,
    start: () => Promise<Value>,
  ): Promise<Value> {
    const watchdog = this.#watchdog
    return new Promise<Value>((resolve, reject) => {
      const access: PendingAccess = {
        since: watchdog.turn,
        operation: `the ${kind} of register 0x${register.toString(16)}`,
        reject: (error) => {
          // An answer that comes after the time limit ends nothing a second time.
          if (!this.#pending.delete(access)) return
          watchdog.end()
          reject(error)
        },
      }
      this.#pending.add(access)
      watchdog.begin()
      const succeeded = (value: Value): void => {
        if (!this.#pending.delete(access)) return
        watchdog.end()
        resolve(value)
      }
      const failed = (cause: unknown): void => {
        access.reject(new MmioAccessError(kind, register, cause))
      }
      try {
        start().then(succeeded, failed)
      } catch (cause) {
        failed(cause)
      }
    })
  }
}
