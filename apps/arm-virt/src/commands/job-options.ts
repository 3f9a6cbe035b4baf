import { type Command, Option } from 'commander'
import { DEFAULT_MEMORY_BYTES } from '../configuration.ts'
import { DEFAULT_BLOCK_BYTES, DEFAULT_IN_FLIGHT } from '../guest/transfer.ts'
import type { JobOptions } from '../job.ts'
import type { CommandEnvironment } from './environment.ts'
import { formatSize } from './formatting.ts'
import { integerParser, parseBlockBytes, parseBytes, parseQueueSize } from './values.ts'

/** What commander makes of the options that all jobs have. */
export interface JobFlags {
  readonly foreign?: true
  readonly queueSize: number
  readonly memory: number
  readonly blockSize: number
  readonly inFlight: number
  readonly json?: true
}

/** Adds the options that all jobs have. */
export function addJobOptions(command: Command): Command {
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
    .addOption(
      new Option('--memory <bytes>', "the guest's RAM, as 512M or 4G")
        .argParser(parseBytes)
        .default(DEFAULT_MEMORY_BYTES, formatSize(DEFAULT_MEMORY_BYTES)),
    )
    .addOption(
      new Option('--block-size <bytes>', 'bytes of a request, up to 1M')
        .argParser(parseBlockBytes)
        .default(DEFAULT_BLOCK_BYTES, formatSize(DEFAULT_BLOCK_BYTES)),
    )
    .addOption(
      new Option('--in-flight <number>', 'requests under way at a time')
        .argParser(integerParser(1, 4096))
        .default(DEFAULT_IN_FLIGHT),
    )
    .option('--json', 'print one JSON object on standard output, an error too')
}

/** A job's options, out of what commander made of them. */
export function jobOptions(flags: JobFlags, environment: CommandEnvironment): JobOptions {
  return {
    addressing: flags.foreign === true ? 'foreign' : 'grants',
    memoryBytes: flags.memory,
    queueSize: flags.queueSize,
    blockBytes: flags.blockSize,
    inFlight: flags.inFlight,
    signal: environment.signal,
    openDisk: environment.openDisk,
    onNotice: (text) => void environment.stderr.write(`arm-virt: ${text}\n`),
  }
}
