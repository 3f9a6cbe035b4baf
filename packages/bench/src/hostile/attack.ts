import type { Addressing } from '@xmc/arm-virt'
import type { BlockDriver } from '@xmc/virtio/driver'

/** One way to harm whoever shares the process with a guest. */
export interface Attack {
  /** Name, as in the table. */
  readonly id: string
  /** What the guest does, in one clause. */
  readonly title: string
  /** Prepares everything, so that a step costs the guest next to nothing. */
  prepare(addressing: Addressing): Promise<Attacker>
}

/** A guest that is ready for its attack. */
export interface Attacker {
  /** What the guest does next, over and over; resolves when its processor may go on. */
  step(): Promise<void>
  /** A disk beside the attacked one, on the same board, for the victim; by default the victim has a board of its own. */
  readonly victim?: BlockDriver
  /** Lines that the host's user was told. */
  readonly lines?: () => number
  close(): Promise<void>
}
