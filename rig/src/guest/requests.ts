/** What dom0 can ask the guest to do. Bytes are hexadecimal digits. */
export type GuestRequest =
  /** Grants fresh pages of zeros to a domain. Answered with {@link Granted}. */
  | {
      readonly do: 'grant'
      readonly count: number
      readonly writable: boolean
      readonly to: number
    }
  /** Ends the grants of one request, as closing the device does. */
  | { readonly do: 'revoke'; readonly grant: number }
  /** Bytes of a granted page, as the guest sees them. Answered with the bytes. */
  | {
      readonly do: 'read-granted'
      readonly grant: number
      readonly page: number
      readonly offset: number
      readonly length: number
    }
  | {
      readonly do: 'write-granted'
      readonly grant: number
      readonly page: number
      readonly offset: number
      readonly bytes: string
    }
  /** Bytes of a reserved frame, as the guest sees them. Answered with the bytes. */
  | {
      readonly do: 'read-frame'
      readonly frame: number
      readonly offset: number
      readonly length: number
    }
  | {
      readonly do: 'write-frame'
      readonly frame: number
      readonly offset: number
      readonly bytes: string
    }
  /** Runs a command in the guest's shell. Answered with {@link CommandOutcome}. */
  | { readonly do: 'run'; readonly command: string }
  /** Powers the guest off. Answered before it is. */
  | { readonly do: 'power-off' }

/** Pages that were granted. */
export interface Granted {
  /** Names the grants in later requests. */
  readonly grant: number
  /** One reference for each page. */
  readonly references: readonly number[]
}

/** What became of a command. */
export interface CommandOutcome {
  /** Its exit code; 128 and the number of the signal when one ended it. */
  readonly code: number
  /** The end of what it wrote, at most 8,000 characters. */
  readonly output: string
}

/** Whether an answer is that to a command. */
export function isCommandOutcome(value: unknown): value is CommandOutcome {
  return isRecord(value) && typeof value['code'] === 'number' && typeof value['output'] === 'string'
}

/** Whether a value that came out of a mailbox is a request. */
export function isGuestRequest(value: unknown): value is GuestRequest {
  if (!isRecord(value)) return false
  const shape = shapes.get(String(value['do']))
  return (
    shape !== undefined &&
    Object.entries(shape).every(([field, type]) => typeof value[field] === type)
  )
}

/** Whether an answer is that to a grant. */
export function isGranted(value: unknown): value is Granted {
  return (
    isRecord(value) &&
    typeof value['grant'] === 'number' &&
    Array.isArray(value['references']) &&
    value['references'].every((reference) => typeof reference === 'number')
  )
}

const granted = { grant: 'number', page: 'number', offset: 'number' }
const framed = { frame: 'number', offset: 'number' }

const shapes = new Map<string, Readonly<Record<string, string>>>([
  ['grant', { count: 'number', writable: 'boolean', to: 'number' }],
  ['revoke', { grant: 'number' }],
  ['read-granted', { ...granted, length: 'number' }],
  ['write-granted', { ...granted, bytes: 'string' }],
  ['read-frame', { ...framed, length: 'number' }],
  ['write-frame', { ...framed, bytes: 'string' }],
  ['run', { command: 'string' }],
  ['power-off', {}],
])

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
