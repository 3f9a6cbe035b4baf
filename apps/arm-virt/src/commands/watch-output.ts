import type { EventEmitter } from 'node:events'
import { announce, type Output } from './environment.ts'

/** The standard streams of a process. */
export interface StandardStreams {
  readonly stdout: EventEmitter
  readonly stderr: EventEmitter & Output
}

/**
 * Says on standard error when standard output cannot be written, and calls `onLost`: the result is not where
 * it was to go. That nobody reads any more (`EPIPE`) is no error: whoever did has seen enough of it. What cannot be
 * written on standard error is lost: there is nowhere left to say so.
 */
export function watchOutput({ stdout, stderr }: StandardStreams, onLost: () => void): void {
  let lost = false
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || lost) return
    lost = true
    onLost()
    announce({ stderr }, `standard output cannot be written: ${error.message}`)
  })
  stderr.on('error', () => {})
}
