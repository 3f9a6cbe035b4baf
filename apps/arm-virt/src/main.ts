import { FAILED, runCommandLine } from './cli.ts'
import { watchOutput } from './commands/watch-output.ts'
import { InterruptedError } from './errors.ts'

/** A further signal after this many milliseconds ends the process at once. */
const PATIENCE = 2000

const interruption = new AbortController()
let interruptedAt = 0

function interrupt(signal: NodeJS.Signals): void {
  if (!interruption.signal.aborted) {
    interruptedAt = performance.now()
    interruption.abort(new InterruptedError(signal))
  } else if (performance.now() - interruptedAt > PATIENCE) {
    // npm hands a terminal's ^C on a second time, so one that follows at once does not count.
    process.removeListener(signal, interrupt)
    process.kill(process.pid, signal)
  }
}

process.on('SIGINT', interrupt)
process.on('SIGTERM', interrupt)
let written = true
watchOutput(process, () => {
  written = false
  process.exitCode = FAILED
})

const exitCode = await runCommandLine(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interruption.signal,
  onServing(resized) {
    process.on('SIGUSR2', resized)
    return () => process.off('SIGUSR2', resized)
  },
})
if (written) process.exitCode = exitCode
process.removeListener('SIGINT', interrupt)
process.removeListener('SIGTERM', interrupt)
