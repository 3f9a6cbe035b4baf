import type { DoctorReport } from '@xmc/xen'
import type { DiskOpener } from '../disk-files.ts'
import type { Hypervisor } from '../hypervisor.ts'
import { printable } from './formatting.ts'

/** Where a command writes. */
export interface Output {
  /** Whether it is a terminal. */
  readonly isTTY?: boolean | undefined
  write(text: string): unknown
}

/** What the commands need of the process around them. */
export interface CommandEnvironment {
  readonly stdout: Output
  /** Takes messages, and the progress: a bar if it is a terminal, else lines. */
  readonly stderr: Output
  /** Aborts when the user wants the command to end, with the reason to end with. */
  readonly signal?: AbortSignal | undefined
  /** Opens disks; as files by default. */
  readonly openDisk?: DiskOpener | undefined
  /** Attaches to a domain; through real Xen by default. */
  readonly attach?: ((domain: number) => Hypervisor) | undefined
  /** Is given what looks at the sizes of served disks again, and returns what takes it away; nothing by default. */
  readonly onServing?: ((resized: () => void) => () => void) | undefined
  /** Looks at what real Xen takes; at this machine by default. */
  readonly examine?: (() => DoctorReport) | undefined
}

/** Writes a message, one line, on standard error. */
export function announce({ stderr }: Pick<CommandEnvironment, 'stderr'>, message: string): void {
  stderr.write(`arm-virt: ${printable(message)}\n`)
}
