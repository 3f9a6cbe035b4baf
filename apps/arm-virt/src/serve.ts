import type { BlockDriver, DriverStatistics } from '@xmc/virtio/driver'
import { DigestMismatchError } from './errors.ts'
import { HeldDisk, type Misbehaviour, misbehave, misbehavingDriver } from './guest/misbehaviour.ts'
import { type ReadResult, readDisk } from './guest/read-disk.ts'
import { ComparedFile, fileSha256 } from './host-file.ts'
import {
  type JobOptions,
  type MachineSummary,
  machineOptions,
  noteWindows,
  openFileDisk,
  summarizeMachine,
  timing,
} from './job.ts'
import { DiskMachine, type MachineEnd } from './machine.ts'

/** What is to be served, and how. */
export interface ServeOptions extends JobOptions {
  /** The disk; the executable of Node itself, read-only, by default. */
  readonly disk?: string | undefined
  /** Whether the guest may only read it; false by default. */
  readonly readOnly?: boolean | undefined
  /** Whether each block that the guest gets is compared with the file, byte for byte; false by default. */
  readonly verify?: boolean | undefined
  /** What the guest does instead of reading the disk to its end. */
  readonly misbehaviour?: Misbehaviour | undefined
}

/** What a guest read, and what it cost. */
export interface ServeSummary extends MachineSummary {
  /** Bytes that the guest read: those of the file. */
  readonly bytes: number
  /** Requests to the block device. */
  readonly requests: number
  /** SHA-256 of what the guest read, computed by the guest. */
  readonly guestSha256: string
  /** SHA-256 of the file, read by itself. */
  readonly hostSha256: string
  /** Seconds that the guest took to read and to compute. */
  readonly seconds: number
  readonly bytesPerSecond: number
}

/** {@link ServeSummary}, with what it was made of. */
export interface ServeReport {
  readonly summary: ServeSummary
  /** The disk, by its path. */
  readonly disk: string
  readonly readOnly: boolean
  /** The board's and the hypervisor's counts at the end. */
  readonly machine: MachineEnd
  /** The guest driver's counts at the end. */
  readonly driver: Readonly<DriverStatistics>
}

/**
 * Serves a disk to a simulated guest, which reads all of it with many requests under way and computes its
 * digest; then compares that with the digest of the file.
 *
 * Everything is closed and unmapped when it ends, in whatever way.
 *
 * @throws DiskError `ERR_XMC_DISK`, RamSizeError `ERR_XMC_RAM_SIZE`, InvalidArgumentError `ERR_XMC_ARGUMENT`: it
 * cannot be served so
 * @throws DigestMismatchError `ERR_XMC_DIGEST_MISMATCH`, DataMismatchError `ERR_XMC_DATA_MISMATCH`: the guest did
 * not get what the file has
 * @throws the reason of the signal, and as `DiskMachine.run` and `DiskMachine.close`
 */
export async function serve(options: ServeOptions = {}): Promise<ServeReport> {
  const { disk: path = process.execPath, openDisk = openFileDisk } = options
  // Nobody shall write to the program that is running.
  const readOnly = options.disk === undefined || (options.readOnly ?? false)
  const disk = await openDisk(path, { readOnly })
  try {
    const { misbehaviour } = options
    const held = misbehaviour === undefined ? undefined : new HeldDisk(disk)
    const machine = DiskMachine.open(machineOptions(options, [held ?? disk]))
    noteWindows(machine.board, options.onNotice)
    let driver: BlockDriver
    let job: { readonly read: ReadResult; readonly milliseconds: number }
    let end: MachineEnd
    try {
      driver =
        misbehaviour === undefined ? machine.driver(0) : misbehavingDriver(machine, misbehaviour)
      job = await machine.run([driver], async () => {
        if (misbehaviour !== undefined && held !== undefined) {
          await misbehave(machine, held, driver, misbehaviour)
        }
        const started = performance.now()
        const read = await verified(options, path, (onBlock) =>
          readDisk(driver, { ...options, bytes: disk.fileSize, onBlock }),
        )
        return { read, milliseconds: performance.now() - started }
      })
    } finally {
      end = await machine.close()
    }
    const guestSha256 = job.read.sha256
    const hostSha256 = await fileSha256(path, disk.fileSize, options.signal)
    if (guestSha256 !== hostSha256) throw new DigestMismatchError(path, guestSha256, hostSha256)
    const { bytes } = job.read
    const summary = {
      bytes,
      requests: machine.requests,
      guestSha256,
      hostSha256,
      ...timing(bytes, job.milliseconds),
      ...summarizeMachine(end),
    }
    return { summary, disk: path, readOnly, machine: end, driver: driver.statistics }
  } finally {
    await disk.close()
  }
}

/** Calls `read` with what compares each block, if that is asked for. */
async function verified(
  { verify = false }: ServeOptions,
  path: string,
  read: (onBlock?: (position: number, bytes: Uint8Array) => Promise<void>) => Promise<ReadResult>,
): Promise<ReadResult> {
  if (!verify) return await read()
  const file = await ComparedFile.open(path)
  try {
    return await read((position, bytes) => file.compare(position, bytes))
  } finally {
    await file.close()
  }
}
