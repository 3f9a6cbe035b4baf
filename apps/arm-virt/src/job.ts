import type { OptionNames } from '@xmc/interface'
import type { Disk } from '@xmc/virtio'
import type { Board } from './board.ts'
import type { Addressing } from './configuration.ts'
import type { DiskOpener } from './disk-files.ts'
import type { TransferOptions } from './guest/transfer.ts'
import type { DiskMachineOptions, MachineEnd } from './machine.ts'

/** What the jobs of this package have in common. */
export interface JobOptions extends TransferOptions {
  /** How the guest addresses memory; `grants` by default. */
  readonly addressing?: Addressing | undefined
  /** Bytes of the guest's RAM; 512 MiB by default. */
  readonly memoryBytes?: number | undefined
  /** Elements of a disk's queue, a power of 2 from 4 to 32,768; 256 by default. */
  readonly queueSize?: number | undefined
  /** Opens disks; as files by default. */
  readonly openDisk?: DiskOpener | undefined
  /**
   * Is told how many bytes of how many were read of the files by themselves, once the guest is done, to be compared with
   * what the guest had.
   */
  readonly onComparing?: ((bytes: number, total: number) => void) | undefined
  /** Is told what the user may want to know besides the result: a smaller window, as an example. */
  readonly onNotice?: ((text: string) => void) | undefined
}

/** The names of the options that all jobs have. */
export const JOB_OPTIONS: OptionNames<JobOptions> = {
  blockBytes: true,
  inFlight: true,
  signal: true,
  onProgress: true,
  addressing: true,
  memoryBytes: true,
  queueSize: true,
  openDisk: true,
  onComparing: true,
  onNotice: true,
}

/** Hits and misses of the caches of one board. */
export interface CacheSummary {
  /** Requests that found their pages mapped. */
  readonly hits: number
  /** Requests for which pages were mapped. */
  readonly misses: number
}

/** What every job tells of the machine it ran on. */
export interface MachineSummary {
  readonly cache: CacheSummary
  /** Calls that mapped, unmapped or copied memory of the guest. */
  readonly hypervisorCalls: number
  /** Pages of the guest that are mapped after the end. */
  readonly mappedPages: number
  /** Grant references that are pinned after the end. */
  readonly pinnedGrants: number
}

/** The part of a job's options that its machine is made from. */
export function machineOptions(
  options: JobOptions,
  disks: readonly Disk[],
): DiskMachineOptions & { readonly addressing: Addressing } {
  const { addressing = 'grants', memoryBytes, queueSize } = options
  return { addressing, memoryBytes, queueSize, disks }
}

/** Sums up what a machine tells at its end. */
export function summarizeMachine({ board, usage }: MachineEnd): MachineSummary {
  return {
    cache: {
      hits: board.foreign.hits + board.grants.hits,
      misses: board.foreign.misses + board.grants.misses,
    },
    hypervisorCalls: usage.memoryCalls,
    mappedPages: usage.mappedPages,
    pinnedGrants: usage.pinnedGrants,
  }
}

/** Seconds and rate of a transfer. */
export function timing(
  bytes: number,
  milliseconds: number,
): { readonly seconds: number; readonly bytesPerSecond: number } {
  const seconds = milliseconds / 1000
  return { seconds, bytesPerSecond: seconds > 0 ? bytes / seconds : 0 }
}

/** Says which windows of host memory are smaller than was asked for, and why. */
export function noteWindows(board: Board, onNotice: ((text: string) => void) | undefined): void {
  for (const { cache, requestedBytes, bytes, reason } of board.memory.windows) {
    if (bytes === requestedBytes) continue
    const why =
      reason === 'address-space-limit' ? 'RLIMIT_AS leaves no room' : 'this machine refuses more'
    const size = `${bytes / 2 ** 20} MiB instead of ${requestedBytes / 2 ** 20} MiB`
    onNotice?.(`the window for ${cache} is ${size}: ${why}`)
  }
}
