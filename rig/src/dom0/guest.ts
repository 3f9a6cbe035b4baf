import koffi from 'koffi'
import { MailboxClient, mailboxBytes } from '../guest/mailbox.ts'
import { mailboxFrames } from '../guest/memory-layout.ts'
import {
  type CommandOutcome,
  type GuestRequest,
  isCommandOutcome,
  isGranted,
} from '../guest/requests.ts'
import { PATIENCE_MILLISECONDS } from '../time/waiting.ts'
import { destroyDomain } from './domain-control.ts'

/** Domain id of the guest that lives as long as dom0. */
export const guestDomain = 1

/** `PROT_READ | PROT_WRITE` */
const readWrite = 3

/** Pages that the guest has granted. */
export interface GuestGrant {
  /** One reference for each page. */
  readonly references: readonly number[]
  /** `length` bytes of page `index` from `offset` on, as the guest sees them. */
  read(index: number, offset: number, length: number): Promise<Uint8Array>
  write(index: number, offset: number, bytes: Uint8Array): Promise<void>
  /** Ends the grants; mappings that exist stay. */
  revoke(): Promise<void>
}

/**
 * A guest of the rig, from dom0: it grants pages, and reads and writes its memory, when asked. What it is asked
 * through is mapped by Xen's own library, not by the packages under test.
 */
export class Guest {
  /** Its domain id. */
  readonly domain: number
  readonly #mailbox: MailboxClient
  #destroyed = false

  private constructor(domain: number, mailbox: MailboxClient) {
    this.domain = domain
    this.#mailbox = mailbox
  }

  /**
   * Resolves when the guest is up.
   *
   * @param domain one that `nextMortal` gave, or {@link guestDomain}, which is the default
   * @throws Error when there is none, or it does not boot within {@link PATIENCE_MILLISECONDS}
   */
  static async connect(domain: number = guestDomain): Promise<Guest> {
    const mailbox = new MailboxClient(mapMailbox(domain))
    await mailbox.connect(PATIENCE_MILLISECONDS)
    return new Guest(domain, mailbox)
  }

  /**
   * Lets the guest grant fresh pages of zeros.
   *
   * @param count 1 to 512
   * @param options `writable` is true by default, and `to` is dom0
   */
  async grant(
    count: number,
    options: { readonly writable?: boolean | undefined; readonly to?: number | undefined } = {},
  ): Promise<GuestGrant> {
    const { writable = true, to = 0 } = options
    const granted = await this.#ask({ do: 'grant', count, writable, to })
    if (!isGranted(granted)) throw new TypeError(`not an answer: ${JSON.stringify(granted)}`)
    const { grant, references } = granted
    return {
      references,
      read: async (page, offset, length) =>
        fromHex(await this.#ask({ do: 'read-granted', grant, page, offset, length })),
      write: async (page, offset, bytes) => {
        await this.#ask({ do: 'write-granted', grant, page, offset, bytes: toHex(bytes) })
      },
      revoke: async () => {
        // Grants end with their domain.
        if (!this.#destroyed) await this.#ask({ do: 'revoke', grant })
      },
    }
  }

  /** `length` bytes of one of the reserved frames from `offset` on, as the guest sees them. */
  async read(frame: number, offset: number, length: number): Promise<Uint8Array> {
    return fromHex(await this.#ask({ do: 'read-frame', frame, offset, length }))
  }

  /** Stores bytes in one of the reserved frames from `offset` on. */
  async write(frame: number, offset: number, bytes: Uint8Array): Promise<void> {
    await this.#ask({ do: 'write-frame', frame, offset, bytes: toHex(bytes) })
  }

  /**
   * Runs a command in the guest's shell.
   *
   * @param limitMilliseconds time that it may take; {@link PATIENCE_MILLISECONDS} by default
   */
  async run(
    command: string,
    limitMilliseconds: number = PATIENCE_MILLISECONDS,
  ): Promise<CommandOutcome> {
    const outcome = await this.#ask({ do: 'run', command }, limitMilliseconds)
    if (!isCommandOutcome(outcome)) throw new TypeError(`not an answer: ${JSON.stringify(outcome)}`)
    return outcome
  }

  /** Lets the guest power itself off. Resolves when it has begun to. */
  async powerOff(): Promise<void> {
    await this.#ask({ do: 'power-off' })
  }

  /** Destroys the domain. Whatever it is asked after that fails. */
  async destroy(): Promise<void> {
    this.#destroyed = true
    await destroyDomain(this.domain)
  }

  async #ask(request: GuestRequest, limit: number = PATIENCE_MILLISECONDS): Promise<unknown> {
    if (this.#destroyed) throw new Error(`domain ${this.domain} was destroyed`)
    return this.#mailbox.call(request, limit)
  }
}

/** The frames of the mailbox, mapped until this process ends. */
function mapMailbox(domain: number): ArrayBuffer {
  const library = koffi.load('libxenforeignmemory.so.1')
  const open = library.func('void *xenforeignmemory_open(void *logger, unsigned int flags)')
  const map = library.func(
    'void *xenforeignmemory_map(void *handle, uint32_t domain, int protection, size_t pages, ' +
      'const uint64_t *frames, _Out_ int *errors)',
  )
  const { first, count } = mailboxFrames
  const frames = BigUint64Array.from({ length: count }, (_, index) => BigInt(first + index))
  const errors = new Int32Array(count)
  const start: unknown = map(open(null, 0), domain, readWrite, count, frames, errors)
  if (start === null || errors.some((error) => error !== 0)) {
    throw new Error(
      `the mailbox of domain ${domain} cannot be mapped: ${errors[0]}; is there such a guest?`,
    )
  }
  return koffi.view(start, mailboxBytes)
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function fromHex(digits: unknown): Uint8Array {
  if (typeof digits !== 'string') throw new TypeError(`not an answer: ${JSON.stringify(digits)}`)
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}
