import { runCommandLine } from './cli.ts'
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
// Whoever reads the output may have seen enough of it.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

process.exitCode = await runCommandLine(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interruption.signal,
})
process.removeListener('SIGINT', interrupt)
process.removeListener('SIGTERM', interrupt)
