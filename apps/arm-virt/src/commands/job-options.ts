import { XmcError } from '@xmc/interface'
import { GuestMemoryExhaustedError } from '@xmc/virtio/driver'
import { type Command, Option } from 'commander'
import { type Addressing, DEFAULT_MEMORY_BYTES } from '../configuration.ts'
import { SameFileError } from '../errors.ts'
import { DEFAULT_BLOCK_BYTES, DEFAULT_IN_FLIGHT } from '../guest/transfer.ts'
import type { JobOptions } from '../job.ts'
import { announce, type CommandEnvironment } from './environment.ts'
import { formatCount, formatSize } from './formatting.ts'
import type { ProgressBar } from './progress-bar.ts'
import { integerParser, parseBlockBytes, parseMemory, parseQueueSize } from './values.ts'

/** What commander makes of the options of all that have disks for a guest. */
export interface DiskFlags {
  readonly foreign?: true
  readonly queueSize: number
  readonly json?: true
}

/** What commander makes of the options that all jobs of a simulated guest have. */
export interface JobFlags extends DiskFlags {
  readonly memory: number
  readonly blockSize: number
  readonly inFlight: number
}

/** Adds the options of all that have disks for a guest. */
export function addDiskOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--grants', 'the guest grants memory to its devices (default)').conflicts(
        'foreign',
      ),
    )
    .addOption(new Option('--foreign', 'the guest hands out its own addresses'))
    .addOption(
      new Option('--queue-size <number>', 'elements of a queue, a power of 2 from 4 to 32768')
        .argParser(parseQueueSize)
        .default(256),
    )
}

/** Adds the options that all jobs of a simulated guest have. */
export function addJobOptions(command: Command): Command {
  return addJsonOption(
    addDiskOptions(command)
      .addOption(memoryOption())
      .addOption(
        new Option('--block-size <bytes>', 'bytes of a request, up to 1M')
          .argParser(parseBlockBytes)
          .default(DEFAULT_BLOCK_BYTES, formatSize(DEFAULT_BLOCK_BYTES)),
      )
      .addOption(
        new Option('--in-flight <number>', 'requests that the guest has under way on a disk')
          .argParser(integerParser(1, 4096))
          .default(DEFAULT_IN_FLIGHT),
      ),
  )
}

/** The option for a guest's RAM. */
export function memoryOption(): Option {
  return new Option('--memory <bytes>', "the guest's RAM, as 512M or 4G")
    .argParser(parseMemory)
    .default(DEFAULT_MEMORY_BYTES, formatSize(DEFAULT_MEMORY_BYTES))
}

/** Adds the option that every command has. */
export function addJsonOption(command: Command): Command {
  return command.option('--json', 'print one JSON object on standard output, an error too')
}

/** How a guest addresses memory, by the options. */
export function addressingOf({ foreign }: DiskFlags): Addressing {
  return foreign === true ? 'foreign' : 'grants'
}

/** A job's options, out of what commander made of them. */
export function jobOptions(
  flags: JobFlags,
  environment: CommandEnvironment,
  bar: ProgressBar,
): JobOptions {
  return {
    addressing: addressingOf(flags),
    memoryBytes: flags.memory,
    queueSize: flags.queueSize,
    blockBytes: flags.blockSize,
    inFlight: flags.inFlight,
    signal: environment.signal,
    openDisk: environment.openDisk,
    onNotice: (text) => announce(environment, text),
    onProgress: (bytes, total) => bar.update(bytes, total),
    onComparing: (bytes, total) => {
      bar.name('comparing')
      bar.update(bytes, total)
    },
  }
}

/**
 * Ends a command that was given one file for two of its disks.
 *
 * @throws CommanderError for a SameFileError
 */
export function refuseSameDisks(command: Command, error: unknown): void {
  if (!(error instanceof SameFileError)) return
  command.error(
    `error: option '--disk <file>' argument '${error.other}' is invalid. It is the file of '--disk ${error.path}' too: ` +
      'give another, or --read-only.',
  )
}

/**
 * What a job ended with, in the words of the command line: a guest that has too little memory got it by an
 * option.
 */
export function explainJobError(error: unknown, flags: JobFlags): unknown {
  if (!(error instanceof GuestMemoryExhaustedError)) return error
  const requests = `${formatCount(flags.inFlight, 'request')} of ${formatSize(flags.blockSize)}`
  return new XmcError(
    error.code,
    `the guest's ${formatSize(flags.memory)} of RAM are too little for ${requests} at a time on each disk ` +
      `and queues of ${flags.queueSize}: give it more by --memory, or less to do by --in-flight, --block-size or --queue-size`,
    { cause: error },
  )
}
