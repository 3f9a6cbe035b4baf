import { doctor, formatDoctorReport } from '@xmc/xen'
import type { Command } from 'commander'
import type { CommandEnvironment } from './environment.ts'
import { formatJson } from './formatting.ts'

interface DoctorFlags {
  readonly json?: true
}

/** Adds `doctor`: what real Xen takes, and whether this machine has it. `onUnusable` is told when not. */
export function addDoctorCommand(
  program: Command,
  environment: CommandEnvironment,
  onUnusable: () => void,
): void {
  program
    .command('doctor')
    .summary('say whether real Xen can be used here, and what is missing')
    .description(
      'Looks at what real Xen takes: platform, hypervisor, privileges, devices and kernel modules, limits, ' +
        'libraries; and says what to do about each that is not there. Changes nothing. The exit code is 1 ' +
        'when Xen cannot be used; the other commands need none.',
    )
    .option('--json', 'print the report as one JSON object on standard output')
    .action((flags: DoctorFlags) => {
      const { stdout, examine = doctor } = environment
      const report = examine()
      stdout.write(flags.json === true ? formatJson(report) : formatDoctorReport(report))
      if (!report.usable) onUnusable()
    })
}
