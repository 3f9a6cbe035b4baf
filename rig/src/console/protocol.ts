/**
 * What dom0 tells the host over Xen's console: one event per line, a mark and JSON, among what kernels and
 * programs print.
 */
export type ConsoleEvent =
  /** dom0 is up, and runs its program from here on. */
  | { readonly event: 'started' }
  | ({ readonly event: 'case' } & CaseResult)
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

/**
 * The event that a line of the console stands for: undefined for a line without one, `'torn'` when the mark
 * is there and the rest cannot be read, since something else was printed in between.
 */
export function parseEvent(line: string): ConsoleEvent | 'torn' | undefined {
  const start = line.indexOf(mark)
  if (start < 0) return undefined
  try {
    const event: unknown = JSON.parse(line.slice(start + mark.length))
    return isEvent(event) ? event : 'torn'
  } catch {
    return 'torn'
  }
}

function isEvent(value: unknown): value is ConsoleEvent {
  if (!isRecord(value)) return false
  switch (value['event']) {
    case 'started':
      return true
    case 'case':
      return isCaseResult(value)
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
