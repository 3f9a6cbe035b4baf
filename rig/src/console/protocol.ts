/**
 * What dom0 tells the host over Xen's console: one event per line, a mark and JSON, among what kernels and
 * programs print.
 */
export type ConsoleEvent =
  /** dom0 is up, and runs its program from here on. */
  | { readonly event: 'started' }
  /** A case begins. */
  | { readonly event: 'begin'; readonly suite: string; readonly id: string }
  | { readonly event: 'case'; readonly result: CaseResult }
  /** The program has reported all of its cases; a host that saw fewer has lost some. */
  | { readonly event: 'complete'; readonly cases: number }
  /** The program has ended. */
  | { readonly event: 'exit'; readonly code: number }

/** What became of one case. */
export interface CaseResult {
  /** The suite it belongs to. */
  readonly suite: string
  /** Unique in its suite. */
  readonly id: string
  /** What is promised, in one clause. */
  readonly title: string
  readonly outcome: 'passed' | 'failed' | 'skipped'
  readonly milliseconds: number
  /** Why it was skipped, or the error it failed with. */
  readonly detail?: string
}

const mark = '@xmc-rig '

/** An event as the line that stands for it, without its end. */
export function formatEvent(event: ConsoleEvent): string {
  return `${mark}${JSON.stringify(event)}`
}

/** What stands on one line of the console. */
export interface ConsoleLine {
  /** What stands before an event; undefined when the line is an event and no more. */
  readonly text: string | undefined
  /** `'torn'` when there is an event that cannot be read, since something else was printed in between. */
  readonly event: ConsoleEvent | 'torn' | undefined
}

/** Takes a line of the console apart. */
export function parseLine(line: string): ConsoleLine {
  const start = line.indexOf(mark)
  if (start < 0) return { text: line, event: undefined }
  const text = start === 0 ? undefined : line.slice(0, start)
  try {
    const event: unknown = JSON.parse(line.slice(start + mark.length))
    return { text, event: isEvent(event) ? event : 'torn' }
  } catch {
    return { text, event: 'torn' }
  }
}

function isEvent(value: unknown): value is ConsoleEvent {
  if (!isRecord(value)) return false
  switch (value['event']) {
    case 'started':
      return true
    case 'begin':
      return typeof value['suite'] === 'string' && typeof value['id'] === 'string'
    case 'case':
      return isRecord(value['result']) && isCaseResult(value['result'])
    case 'complete':
      return Number.isInteger(value['cases'])
    case 'exit':
      return Number.isInteger(value['code'])
    default:
      return false
  }
}

function isCaseResult(value: Readonly<Record<string, unknown>>): boolean {
  return (
    ['suite', 'id', 'title'].every((field) => typeof value[field] === 'string') &&
    (value['outcome'] === 'passed' ||
      value['outcome'] === 'failed' ||
      value['outcome'] === 'skipped') &&
    typeof value['milliseconds'] === 'number' &&
    (value['detail'] === undefined || typeof value['detail'] === 'string')
  )
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
