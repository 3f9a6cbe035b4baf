import { until } from '../time/waiting.ts'

/**
 * Two ends of a piece of memory that dom0 and guest share: dom0 leaves a request, the guest an answer. Both
 * are JSON. The numbers at the start say what is there:
 *
 * | offset | 32-bit number                                          |
 * | ------ | ------------------------------------------------------ |
 * | 0      | {@link ready} once the guest serves                    |
 * | 4      | number of the last request                             |
 * | 8      | bytes of the request, from offset 4096 on              |
 * | 12     | number of the last answer, that of its request         |
 * | 16     | bytes of the answer, from offset 32768 on              |
 * | 20     | {@link wanted} once dom0 wants the guest to serve      |
 *
 * Bytes are stored one by one: a mapping of memory that Linux does not know may refuse what a block copy does.
 */

/** Bytes that both ends need. */
export const mailboxBytes = 65536

const ready = 0x78_6d_63_31

/** What a guest waits for before it starts a program to serve with: many guests are never asked anything. */
export const wanted = 0x78_6d_63_32

/** Where it stands. */
export const wantedOffset = 20
const requestStart = 4096
const answerStart = 32768

/** Milliseconds between two looks at the memory. */
const interval = 2

/** The same for a guest that nobody has asked anything for a while: it shares the processor with dom0. */
const idleInterval = 25

/** Milliseconds after which a guest counts as idle. */
const idleAfter = 500

/** What the guest may answer; what a request asks for is its own business. */
type Answer = { readonly result: unknown } | { readonly error: string }

/**
 * The guest's end, on memory of zeros: answers requests one after the other, and resolves when `signal` is raised. What `handle`
 * throws is answered with its message.
 */
export async function serveMailbox(
  memory: ArrayBuffer,
  handle: (request: unknown) => unknown,
  signal: AbortSignal,
): Promise<void> {
  const numbers = new Uint32Array(memory, 0, 5)
  numbers[0] = ready
  let lastRequest = performance.now()
  while (!signal.aborted) {
    const request = numbers[1] ?? 0
    if (request === numbers[3]) {
      await pause(performance.now() - lastRequest > idleAfter ? idleInterval : interval)
      continue
    }
    lastRequest = performance.now()
    const text = load(memory, requestStart, numbers[2] ?? 0)
    numbers[4] = store(
      memory,
      answerStart,
      mailboxBytes,
      JSON.stringify(await answer(text, handle)),
    )
    numbers[3] = request
  }
}

async function answer(text: string, handle: (request: unknown) => unknown): Promise<Answer> {
  try {
    return { result: (await handle(JSON.parse(text))) ?? null }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

/** dom0's end. */
export class MailboxClient {
  readonly #memory: ArrayBuffer
  readonly #numbers: Uint32Array
  #queue: Promise<unknown> = Promise.resolve()

  constructor(memory: ArrayBuffer) {
    this.#memory = memory
    this.#numbers = new Uint32Array(memory, 0, 6)
  }

  /**
   * Resolves when the guest serves.
   *
   * @throws Error when it does not within `limit` milliseconds, as `until` counts them
   */
  async connect(limit: number): Promise<void> {
    this.#numbers[wantedOffset / 4] = wanted
    await answered('does not answer', () => this.#numbers[0] === ready, limit)
  }

  /**
   * What the guest answers to a request. Requests wait for each other.
   *
   * @throws Error with the guest's message when it could not do what was asked, or when there is no answer
   *   within `limit` milliseconds
   */
  call(request: unknown, limit: number): Promise<unknown> {
    const result = this.#queue.then(() => this.#call(request, limit))
    this.#queue = result.catch(() => {})
    return result
  }

  async #call(request: unknown, limit: number): Promise<unknown> {
    const numbers = this.#numbers
    const number = ((numbers[1] ?? 0) + 1) >>> 0
    numbers[2] = store(this.#memory, requestStart, answerStart, JSON.stringify(request))
    numbers[1] = number
    const complaint = `does not answer ${JSON.stringify(request)}`
    await answered(complaint, () => numbers[3] === number, limit)
    const result: unknown = JSON.parse(load(this.#memory, answerStart, numbers[4] ?? 0))
    if (isFailure(result)) throw new Error(`the guest: ${result.error}`)
    return isResult(result) ? result.result : undefined
  }
}

function answered(complaint: string, condition: () => boolean, limit: number): Promise<void> {
  return until(`the guest ${complaint}`, condition, {
    limit,
    // The guest needs the processor for what takes long.
    pause: (elapsed) => Math.max(interval, Math.min(idleInterval, elapsed / 10)),
  })
}

function isFailure(value: unknown): value is { readonly error: string } {
  return typeof value === 'object' && value !== null && 'error' in value
}

function isResult(value: unknown): value is { readonly result: unknown } {
  return typeof value === 'object' && value !== null && 'result' in value
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds)
  })
}

/** Stores a text and returns its bytes. */
function store(memory: ArrayBuffer, start: number, end: number, text: string): number {
  const bytes = new TextEncoder().encode(text)
  if (bytes.length > end - start) {
    throw new RangeError(`a message of ${bytes.length} bytes: the mailbox has ${end - start}`)
  }
  copy(bytes, new Uint8Array(memory, start, bytes.length))
  return bytes.length
}

function load(memory: ArrayBuffer, start: number, length: number): string {
  const bytes = new Uint8Array(length)
  copy(new Uint8Array(memory, start, length), bytes)
  return new TextDecoder().decode(bytes)
}

/** Copies byte by byte; `to` is as long as `from`. */
export function copy(from: Uint8Array, to: Uint8Array): void {
  for (let index = 0; index < from.length; index += 1) to[index] = from[index] ?? 0
}
