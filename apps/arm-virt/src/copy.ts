import { checkOptions, type OptionNames } from '@xmc/interface'
import { openFileDisk, requireDistinct } from './disk-files.ts'
import { DigestMismatchError } from './errors.ts'
import { copyDisk } from './guest/copy-disk.ts'
import { fileDigests } from './host-file.ts'
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

/** What is to be copied, and how. */
export interface CopyOptions extends JobOptions {
  /** The disk that the guest reads. */
  readonly source: string
  /** The disk that it writes, at least as large. */
  readonly target: string
  /** Whether the target refuses writes, as a disk that is attached read-only; false by default. */
  readonly readOnly?: boolean | undefined
}

/** What a guest copied, and what it cost. */
export interface CopySummary extends MachineSummary {
  /** Bytes that were written: the source's sectors. */
  readonly bytes: number
  /** Requests to both block devices. */
  readonly requests: number
  /** SHA-256 of the source file, read by itself. */
  readonly sourceSha256: string
  /** SHA-256 of as many bytes of the target file, read by itself. */
  readonly targetSha256: string
  /** Seconds that the guest took, the flush at the end included. */
  readonly seconds: number
  readonly bytesPerSecond: number
}

const OPTIONS: OptionNames<CopyOptions> = {
  ...JOB_OPTIONS,
  source: true,
  target: true,
  readOnly: true,
}

/**
 * Serves two disks to a simulated guest, which copies all of one onto the other, with many reads and writes
 * under way, and flushes; then compares the files.
 *
 * @throws SameFileError `ERR_XMC_SAME_FILE`: source and target are one file
 * @throws as `selfTest`
 */
export async function copy(options: CopyOptions): Promise<CopySummary> {
  checkOptions('copy', options, OPTIONS)
  const { source: sourcePath, target: targetPath, openDisk = openFileDisk } = options
  const source = await openDisk(sourcePath, { readOnly: true })
  try {
    await requireDistinct([sourcePath, targetPath])
    const target = await openDisk(targetPath, { readOnly: options.readOnly ?? false })
    try {
      const bytes = source.fileSize
      const machine = DiskMachine.open(machineOptions(options, [source, target]))
      noteWindows(machine.board, options.onNotice)
      const [reader, writer] = [machine.driver(0), machine.driver(1)]
      let job: { readonly bytes: number; readonly milliseconds: number }
      let end: MachineEnd
      try {
        job = await machine.run([reader, writer], async () => {
          const started = performance.now()
          const copied = await copyDisk(reader, writer, options)
          return { bytes: copied, milliseconds: performance.now() - started }
        })
      } finally {
        end = await machine.close()
      }
      const parts = [
        { path: sourcePath, bytes },
        { path: targetPath, bytes },
      ]
      const [sourceSha256 = '', targetSha256 = ''] = await fileDigests(parts, {
        signal: options.signal,
        onProgress: options.onComparing,
      })
      if (sourceSha256 !== targetSha256) {
        throw new DigestMismatchError(targetPath, sourceSha256, targetSha256)
      }
      return {
        bytes: job.bytes,
        requests: machine.requests,
        sourceSha256,
        targetSha256,
        ...timing(job.bytes, job.milliseconds),
        ...summarizeMachine(end),
      }
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}
