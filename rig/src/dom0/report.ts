import { writeSync } from 'node:fs'
import { type CaseResult, type ConsoleEvent, formatEvent } from '../console/protocol.ts'

let cases = 0

/** Tells the host that a case begins. */
export function reportBegin(suite: string, id: string): void {
  send({ event: 'begin', suite, id })
}

/** Tells the host what became of a case. It is on its way when this returns, whatever happens next. */
export function reportCase(result: CaseResult): void {
  cases += 1
  send({ event: 'case', result })
}

/** Tells the host that every case has been reported; without it the host counts the run as failed. */
export function reportComplete(): void {
  send({ event: 'complete', cases })
}

function send(event: ConsoleEvent): void {
  let rest = Buffer.from(`${formatEvent(event)}\n`)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      // The console was made non-blocking by someone and is full.
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
    }
  }
}
