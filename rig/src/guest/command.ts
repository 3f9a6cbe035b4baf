import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { CommandOutcome } from './requests.ts'

/** Characters of the output that are answered. */
const outputLength = 8000

/** Runs a command in a shell; resolves when it has ended and its output is closed. */
export function runCommand(command: string): Promise<CommandOutcome> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const keep = (part: string): void => {
      output = `${output}${part}`.slice(-outputLength)
    }
    child.stdout.setEncoding('utf8').on('data', keep)
    child.stderr.setEncoding('utf8').on('data', keep)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      resolve({ code: code ?? 128 + (signal === null ? 0 : constants.signals[signal]), output })
    })
  })
}
