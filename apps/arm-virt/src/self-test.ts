import { checkOptions, type OptionNames } from '@xmc/interface'
import type { BlockDriver, DriverStatistics } from '@xmc/virtio/driver'
import { type OpenDisk, openDisks } from './disk-files.ts'
import { DigestMismatchError } from './errors.ts'
import { HeldDisk, type Misbehaviour, misbehave, misbehavingDriver } from './guest/misbehaviour.ts'
import { readDisk } from './guest/read-disk.ts'
import { ComparedFile, type FilePart, fileDigests } from './host-file.ts'
import {
  JOB_OPTIONS,
  type JobOptions,
  type MachineSummary,
  machineOptions,
  noteWindows,
  summarizeMachine,
  timing,
} from './job.ts'
import { DiskMachine, type MachineEnd } from './machine.ts'

/** What a simulated guest is to read, and how. */
export interface SelfTestOptions extends JobOptions {
  /**
   * The disks, in the order of the slots, 1 to 11, which are read side by side; the executable of Node itself,
   * read-only, by default.
   */
  readonly disks?: readonly string[] | undefined
  /** Whether the guest may only read them; false by default. */
  readonly readOnly?: boolean | undefined
  /** Whether each block that the guest gets is compared with the file, byte for byte; false by default. */
  readonly verify?: boolean | undefined
  /** What the guest does with the first disk instead of reading the disks to their ends. */
  readonly misbehaviour?: Misbehaviour | undefined
}

/** What a guest read of one disk. */
export interface DiskReading {
  /** The disk, by its path. */
  readonly path: string
  readonly readOnly: boolean
  /** Bytes that the guest read: those of the file. */
  readonly bytes: number
  /** Requests to its block device. */
  readonly requests: number
  /** SHA-256 of what the guest read, computed by the guest. */
  readonly guestSha256: string
  /** SHA-256 of the file, read by itself. */
  readonly hostSha256: string
}

/** What a guest read, and what it cost. */
export interface SelfTestSummary extends MachineSummary {
  /** Bytes that the guest read, of all disks. */
  readonly bytes: number
  /** Requests to the block devices. */
  readonly requests: number
  /** SHA-256 of what the guest read of the first disk, computed by the guest. */
  readonly guestSha256: string
  /** SHA-256 of the first disk's file, read by itself. */
  readonly hostSha256: string
  /** Seconds that the guest took to read and to compute. */
  readonly seconds: number
  readonly bytesPerSecond: number
  /** Each disk, in the order of the slots. */
  readonly disks: readonly DiskReading[]
}

/** {@link SelfTestSummary}, with what it was made of. */
export interface SelfTestReport {
  readonly summary: SelfTestSummary
  /** The board's and the hypervisor's counts at the end. */
  readonly machine: MachineEnd
  /** The counts of the guest's driver for each disk at the end. */
  readonly drivers: readonly Readonly<DriverStatistics>[]
}

const OPTIONS: OptionNames<SelfTestOptions> = {
  ...JOB_OPTIONS,
  disks: true,
  readOnly: true,
  verify: true,
  misbehaviour: true,
}

/**
 * Has a simulated guest read disks, all of them to their ends, with many requests under way on each, and compute
 * their digests; then compares these with the digests of the files.
 *
 * Everything is closed and unmapped when it ends, in whatever way.
 *
 * @throws DiskError `ERR_XMC_DISK`, SameFileError `ERR_XMC_SAME_FILE`, TooManyDevicesError `ERR_XMC_TOO_MANY_DEVICES`,
 * RamSizeError `ERR_XMC_RAM_SIZE`, InvalidArgumentError `ERR_XMC_ARGUMENT`, GuestMemoryExhaustedError
 * `ERR_XMC_GUEST_MEMORY_EXHAUSTED`: they cannot be read so
 * @throws DigestMismatchError `ERR_XMC_DIGEST_MISMATCH`, DataMismatchError `ERR_XMC_DATA_MISMATCH`: the guest did
 * not get what a file has
 * @throws the reason of the signal, and as `DiskMachine.run` and `DiskMachine.close`
 */
export async function selfTest(options: SelfTestOptions = {}): Promise<SelfTestReport> {
  checkOptions('selfTest', options, OPTIONS)
  const { disks: paths = [process.execPath], openDisk } = options
  // Nobody shall write to the program that is running.
  const readOnly = options.disks === undefined || (options.readOnly ?? false)
  const disks = await openDisks(paths, { readOnly }, openDisk)
  try {
    const parts = disks.map(({ fileSize }, slot) => ({ path: paths[slot] ?? '', bytes: fileSize }))
    const { machine, drivers, end, sha256, milliseconds } = await readAll(disks, parts, options)
    const { signal, onComparing } = options
    const hostSha256 = await fileDigests(parts, { signal, onProgress: onComparing })
    const readings = parts.map(({ path, bytes }, slot) => ({
      path,
      readOnly,
      bytes,
      requests: machine.devices[slot]?.statistics.requests ?? 0,
      guestSha256: sha256[slot] ?? '',
      hostSha256: hostSha256[slot] ?? '',
    }))
    for (const reading of readings) requireEqual(reading)
    const bytes = sum(readings.map((reading) => reading.bytes))
    const summary = {
      bytes,
      requests: machine.requests,
      guestSha256: sha256[0] ?? '',
      hostSha256: hostSha256[0] ?? '',
      ...timing(bytes, milliseconds),
      ...summarizeMachine(end),
      disks: readings,
    }
    return { summary, machine: end, drivers: drivers.map(({ statistics }) => statistics) }
  } finally {
    for (const disk of disks) await disk.close()
  }
}

interface Reading {
  readonly machine: DiskMachine
  readonly drivers: readonly BlockDriver[]
  readonly end: MachineEnd
  /** Digest of what the guest read of each disk. */
  readonly sha256: readonly string[]
  readonly milliseconds: number
}

/** Builds a machine, has its guest read the disks, and takes it down. */
async function readAll(
  disks: readonly OpenDisk[],
  parts: readonly FilePart[],
  options: SelfTestOptions,
): Promise<Reading> {
  const { misbehaviour } = options
  const [first, ...others] = disks
  const held = misbehaviour === undefined || first === undefined ? undefined : new HeldDisk(first)
  const machine = DiskMachine.open(
    machineOptions(options, held === undefined ? disks : [held, ...others]),
  )
  noteWindows(machine.board, options.onNotice)
  let drivers: readonly BlockDriver[]
  let job: Pick<Reading, 'sha256' | 'milliseconds'>
  let end: MachineEnd
  try {
    drivers = disks.map((_, slot) =>
      slot === 0 && misbehaviour !== undefined
        ? misbehavingDriver(machine, misbehaviour)
        : machine.driver(slot),
    )
    job = await machine.run(drivers, async () => {
      const [driver] = drivers
      if (misbehaviour !== undefined && held !== undefined && driver !== undefined) {
        await misbehave(machine, held, driver, misbehaviour)
      }
      const started = performance.now()
      const sha256 = await sideBySide(drivers, parts, options)
      return { sha256, milliseconds: performance.now() - started }
    })
  } finally {
    end = await machine.close()
  }
  return { machine, drivers, end, ...job }
}

/** Reads disks at the same time; the first failure ends the others. */
async function sideBySide(
  drivers: readonly BlockDriver[],
  parts: readonly FilePart[],
  options: SelfTestOptions,
): Promise<readonly string[]> {
  const failure = new AbortController()
  const signals = [failure.signal, ...(options.signal === undefined ? [] : [options.signal])]
  const signal = AbortSignal.any(signals)
  const total = sum(parts.map(({ bytes }) => bytes))
  const done = parts.map(() => 0)
  const readOne = async (driver: BlockDriver, slot: number): Promise<string> => {
    const onProgress = (read: number): void => {
      done[slot] = read
      options.onProgress?.(sum(done), total)
    }
    try {
      const { path, bytes } = parts[slot] ?? { path: '', bytes: 0 }
      const job = { ...options, bytes, signal, onProgress }
      return await verified(options, path, async (onBlock) => {
        const { sha256 } = await readDisk(driver, { ...job, onBlock })
        return sha256
      })
    } catch (error) {
      failure.abort(error)
      throw error
    }
  }
  const reads = drivers.map(readOne)
  // All of them have ended before anything is taken down.
  await Promise.allSettled(reads)
  return await Promise.all(reads)
}

/** Calls `read` with what compares each block, if that is asked for. */
async function verified<Result>(
  { verify = false }: SelfTestOptions,
  path: string,
  read: (onBlock?: (position: number, bytes: Uint8Array) => Promise<void>) => Promise<Result>,
): Promise<Result> {
  if (!verify) return await read()
  const file = await ComparedFile.open(path)
  try {
    return await read((position, bytes) => file.compare(position, bytes))
  } finally {
    await file.close()
  }
}

function requireEqual({ path, guestSha256, hostSha256 }: DiskReading): void {
  if (guestSha256 !== hostSha256) throw new DigestMismatchError(path, guestSha256, hostSha256)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
