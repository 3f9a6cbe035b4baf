import { readFileSync } from 'node:fs'

/** What may be done through a page of this process. */
export type Protection = 'read-only' | 'read-write'

/**
 * How the page at `hostAddress` of this process is mapped, from `/proc/self/maps`: a store through
 * a read-only page would end the process, so this is how a test looks.
 *
 * @throws Error when no readable page is there
 */
export function protectionAt(hostAddress: number): Protection {
  for (const line of readFileSync('/proc/self/maps', 'utf8').split('\n')) {
    const [, start, end, readable, writable] = LINE.exec(line) ?? []
    if (start === undefined || end === undefined || readable !== 'r') continue
    if (hostAddress < Number.parseInt(start, 16) || hostAddress >= Number.parseInt(end, 16))
      continue
    return writable === 'w' ? 'read-write' : 'read-only'
  }
  throw new Error(`no readable page is mapped at 0x${hostAddress.toString(16)}`)
}

const LINE = /^([0-9a-f]+)-([0-9a-f]+) (.)(.)/
