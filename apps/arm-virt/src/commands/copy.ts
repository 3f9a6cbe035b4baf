import type { Command } from 'commander'
import { type CopySummary, copy } from '../copy.ts'
import { SameFileError } from '../errors.ts'
import type { CommandEnvironment } from './environment.ts'
import {
  describeCache,
  describeLeft,
  formatCount,
  formatJson,
  formatTable,
  formatTiming,
} from './formatting.ts'
import { addJobOptions, explainJobError, type JobFlags, jobOptions } from './job-options.ts'
import { openProgressBar } from './progress-bar.ts'

interface CopyFlags extends JobFlags {
  readonly readOnly?: true
}

/** Adds `copy`: two disks are served to a guest that copies one onto the other. */
export function addCopyCommand(program: Command, environment: CommandEnvironment): void {
  const command = program
    .command('copy')
    .summary('serve two disks to a simulated guest, which copies one onto the other')
    .description(
      'Serves two disks to a simulated guest over virtio-blk. The guest copies all of one onto the other, ' +
        'with many writes in flight, and flushes; the digests of the files are compared.',
    )
    .argument('<source>', 'the disk that the guest reads')
    .argument('<target>', 'the disk that it writes: a file that exists, at least as large')
    .option('--read-only', 'attach the target read-only, to see the guest refused')
  addJobOptions(command).action(async (source: string, target: string, flags: CopyFlags) => {
    const bar = openProgressBar(environment, 'copying')
    let summary: CopySummary
    try {
      summary = await copy({
        ...jobOptions(flags, environment, bar),
        source,
        target,
        readOnly: flags.readOnly,
      })
    } catch (error) {
      if (error instanceof SameFileError) {
        command.error(
          `error: arguments 'source' and 'target' are the same file, '${error.other}'. Give another target.`,
        )
      }
      throw explainJobError(error, flags)
    } finally {
      bar.stop()
    }
    const { stdout } = environment
    stdout.write(flags.json === true ? formatJson(summary) : describe(summary))
  })
}

function describe(summary: CopySummary): string {
  const { bytes, requests, seconds, bytesPerSecond } = summary
  return formatTable([
    ['copied', `${formatCount(bytes, 'byte')} in ${formatCount(requests, 'request')}`],
    ['time', formatTiming(seconds, bytesPerSecond)],
    ['SHA-256', `${summary.sourceSha256}  of the source`],
    ['', `${summary.targetSha256}  of the target: equal`],
    ['cache', describeCache(summary.cache)],
    ['hypervisor', formatCount(summary.hypervisorCalls, 'call')],
    ['left', describeLeft(summary)],
  ])
}
