#!/usr/bin/env node
import { runCommandLine } from './command-line.ts'
import { InterruptedError } from './errors.ts'

const interruption = new AbortController()

function interrupt(signal: NodeJS.Signals): void {
  interruption.abort(new InterruptedError(signal))
}

process.on('SIGINT', interrupt)
process.on('SIGTERM', interrupt)
process.on('SIGHUP', interrupt)
// Whoever reads the output may have seen enough of it.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  interruption.abort(new InterruptedError('SIGPIPE'))
})

// npm that is ended by a signal ends its shell and leaves us behind.
const parent = process.ppid
const orphaned = setInterval(() => {
  if (process.ppid !== parent) interrupt('SIGHUP')
}, 500)

process.exitCode = await runCommandLine(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  variables: process.env,
  signal: interruption.signal,
})
clearInterval(orphaned)
process.removeListener('SIGINT', interrupt)
process.removeListener('SIGTERM', interrupt)
process.removeListener('SIGHUP', interrupt)
