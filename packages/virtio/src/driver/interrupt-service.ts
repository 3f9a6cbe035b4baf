import {
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_INTERRUPT_CONFIGURATION,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_INTERRUPT_USED_BUFFER,
} from '../registers.ts'
import { DeviceProtocolError } from './errors.ts'
import type { InterruptLine } from './ports.ts'
import type { RegisterAccess } from './register-access.ts'
import type { DriverStatistics } from './statistics.ts'

/** Acknowledgements in a row that brought nothing, after which the interrupt counts as stuck. */
const MAXIMUM_IDLE_TURNS = 100

/** What an interrupt is about. */
interface InterruptSources {
  /** Asks for no interrupts while used chains are processed anyway. */
  disableInterrupts(): void
  /** Asks for interrupts again; true when chains were used in the meantime. */
  enableInterrupts(): boolean
  /** Takes back what the device has used. Returns whether there was anything. */
  process(): boolean
  /** Looks at the status and the configuration. */
  configurationChanged(): Promise<void>
  /** Gives the device up. */
  fail(error: unknown): void
}

/** What an interrupt service works with. */
export interface InterruptServiceParts {
  readonly line: InterruptLine
  readonly registers: RegisterAccess
  readonly sources: InterruptSources
  readonly statistics: DriverStatistics
}

/**
 * The handler of a device's interrupt: reads InterruptStatus, acknowledges what it says, and sees to it
 * (virtio 1.2, 4.2.3.4).
 */
export class InterruptService {
  readonly #parts: InterruptServiceParts
  #unsubscribe: (() => void) | undefined
  /** Counts starts and stops: a handler that waits for a register sees that it is out of date. */
  #epoch = 0
  #serving = false
  #again = false

  constructor(parts: InterruptServiceParts) {
    this.#parts = parts
  }

  /** Listens to the line. */
  start(): void {
    this.stop()
    this.#serving = false
    this.#unsubscribe = this.#parts.line.subscribe(this.#onRise)
  }

  /** Does not listen any more; a handler that is running stops at the next register access. */
  stop(): void {
    this.#epoch++
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
  }

  readonly #onRise = (): void => {
    if (this.#unsubscribe === undefined) return
    this.#parts.statistics.interrupts++
    this.#again = true
    if (!this.#serving) void this.#serve()
  }

  /** Never rejects. */
  async #serve(): Promise<void> {
    const epoch = this.#epoch
    const { line, sources } = this.#parts
    this.#serving = true
    try {
      let idleTurns = 0
      while (this.#again || line.level) {
        this.#again = false
        const didSomething = await this.#turn(epoch)
        if (epoch !== this.#epoch) return
        if (didSomething) idleTurns = 0
        else if (!line.level && !this.#again) break
        else if (++idleTurns >= MAXIMUM_IDLE_TURNS) {
          throw new DeviceProtocolError(
            '4.2.3.4',
            'the interrupt line stays high, whatever is acknowledged',
          )
        }
      }
    } catch (error) {
      if (epoch === this.#epoch) sources.fail(error)
    } finally {
      if (epoch === this.#epoch) this.#serving = false
    }
  }

  /** Sees to the interrupt once. Returns whether there was anything to do. */
  async #turn(epoch: number): Promise<boolean> {
    const { registers, sources, statistics } = this.#parts
    sources.disableInterrupts()
    // Two register accesses take long; what has completed needs not wait for them.
    let didSomething = sources.process()
    const status = await registers.read(VIRTIO_MMIO_INTERRUPT_STATUS)
    if (epoch !== this.#epoch) return false
    if (status === 0 && !didSomething) statistics.spuriousInterrupts++
    if (status !== 0) {
      await registers.write(VIRTIO_MMIO_INTERRUPT_ACK, status)
      if (epoch !== this.#epoch) return false
    }
    if (status & VIRTIO_MMIO_INTERRUPT_CONFIGURATION) {
      await sources.configurationChanged()
      if (epoch !== this.#epoch) return false
      didSomething = true
    }
    if (status & VIRTIO_MMIO_INTERRUPT_USED_BUFFER && sources.process()) didSomething = true
    while (sources.enableInterrupts()) {
      sources.disableInterrupts()
      sources.process()
      didSomething = true
    }
    return didSomething
  }
}
