import type { DoctorReport } from '@xmc/xen'
import type { Hypervisor } from '../hypervisor.ts'
import type { DiskOpener } from '../job.ts'

/** Where a command writes. */
export interface Output {
  /** Whether it is a terminal. */
  readonly isTTY?: boolean | undefined
  write(text: string): unknown
}

/** What the commands need of the process around them. */
export interface CommandEnvironment {
  readonly stdout: Output
  /** Takes messages, and the progress bar if it is a terminal. */
  readonly stderr: Output
  /** Aborts when the user wants the command to end, with the reason to end with. */
  readonly signal?: AbortSignal | undefined
  /** Opens disks; as files by default. */
  readonly openDisk?: DiskOpener | undefined
  /** Attaches to a domain; through real Xen by default. */
  readonly attach?: ((domain: number) => Hypervisor) | undefined
  /** Looks at what real Xen takes; at this machine by default. */
  readonly examine?: (() => DoctorReport) | undefined
}
