import {
  type DomainId,
  GRANT_STATUS,
  type GrantFailure,
  type GrantReference,
  type GrantStatus,
  type GuestFrame,
  guestFrame,
} from '@xmc/interface'
import {
  GRANT_ENTRIES_PER_FRAME,
  GRANT_ENTRY_SIZE,
  GRANT_FLAGS,
  readGrantEntry,
} from '../grant-entry.ts'

/** Xen refuses a pin once the counter of its kind has bit 7 set. */
const MAXIMUM_PINS = 128

/** The four pin counters of an entry: 0 to 128 each. */
interface PinCounters {
  hostRead: number
  hostWrite: number
  deviceRead: number
  deviceWrite: number
}

/** Xen's own record of an entry that is in use. It outlives changes that the guest makes. */
export interface ActiveEntry {
  readonly reference: GrantReference
  readonly grantee: DomainId
  readonly frame: GuestFrame
  readonly machinePage: number
  readonly pins: PinCounters
}

/** What is to be pinned, or unpinned. */
interface PinRequest {
  readonly host: boolean
  readonly device: boolean
  readonly writable: boolean
}

/** Finds the machine page of a granted frame, or says why not. */
export type PageResolver = (
  granter: DomainId,
  frame: GuestFrame,
) => { readonly machinePage: number } | { readonly failure: GrantFailure }

/** The version 1 grant table of one granting domain: the bytes the guest shares, and the pins. */
export class GranterTable {
  readonly domain: DomainId
  /** The whole table up to its largest size; only the first {@link GranterTable.frames} count. */
  readonly bytes: ArrayBuffer
  readonly active: Map<GrantReference, ActiveEntry> = new Map()
  frames = 1
  readonly #view: DataView
  readonly #pinnedPages: Map<number, number>

  /** `pinnedPages` counts the pinned entries of each machine page, over all tables. */
  constructor(domain: DomainId, maximumFrames: number, pinnedPages: Map<number, number>) {
    this.domain = domain
    this.#pinnedPages = pinnedPages
    this.bytes = new ArrayBuffer(maximumFrames * 4096)
    this.#view = new DataView(this.bytes)
  }

  /** References below this exist. */
  get size(): number {
    return this.frames * GRANT_ENTRIES_PER_FRAME
  }

  /**
   * Pins an entry for `grantee`, checked against the guest's flags where Xen checks: when the entry
   * was not pinned, or not yet for writing. A sub-page entry can be copied, not mapped.
   */
  pin(
    reference: GrantReference,
    grantee: DomainId,
    request: PinRequest,
    use: 'map' | 'copy',
    resolve: PageResolver,
  ): ActiveEntry | GrantFailure {
    const active = this.active.get(reference)
    if (active && (active.grantee !== grantee || isFull(active.pins, request))) {
      return GRANT_STATUS.general_error
    }
    const checked = !active || (request.writable && !isWritten(active.pins))
    if (!checked) {
      add(active.pins, request, 1)
      return active
    }
    const status = this.#setStatus(reference, grantee, request.writable, use, active)
    if (status !== GRANT_STATUS.okay) return status
    if (active && use === 'map') {
      add(active.pins, request, 1)
      return active
    }
    const frame = guestFrame(readGrantEntry(this.#view, reference).frame)
    const page = resolve(this.domain, frame)
    if ('failure' in page) {
      this.#clearStatus(reference, request.writable, active?.pins)
      return page.failure
    }
    const entry = active ?? {
      reference,
      grantee,
      frame,
      machinePage: page.machinePage,
      pins: { hostRead: 0, hostWrite: 0, deviceRead: 0, deviceWrite: 0 },
    }
    if (!active) {
      this.active.set(reference, entry)
      const pinned = this.#pinnedPages.get(entry.machinePage) ?? 0
      this.#pinnedPages.set(entry.machinePage, pinned + 1)
    }
    add(entry.pins, request, 1)
    return entry
  }

  /** Undoes one {@link GranterTable.pin}, and takes back the flags that Xen had set for it. */
  unpin(entry: ActiveEntry, request: PinRequest): void {
    add(entry.pins, request, -1)
    this.#clearStatus(entry.reference, request.writable, entry.pins)
    if (isPinned(entry.pins)) return
    this.active.delete(entry.reference)
    const pinned = this.#pinnedPages.get(entry.machinePage) ?? 0
    if (pinned > 1) this.#pinnedPages.set(entry.machinePage, pinned - 1)
    else this.#pinnedPages.delete(entry.machinePage)
  }

  /** Exchanges the guest's bytes of two entries. */
  swap(a: GrantReference, b: GrantReference): void {
    const first = this.#view.getBigUint64(a * GRANT_ENTRY_SIZE, true)
    this.#view.setBigUint64(
      a * GRANT_ENTRY_SIZE,
      this.#view.getBigUint64(b * GRANT_ENTRY_SIZE, true),
      true,
    )
    this.#view.setBigUint64(b * GRANT_ENTRY_SIZE, first, true)
  }

  #setStatus(
    reference: GrantReference,
    grantee: DomainId,
    writable: boolean,
    use: 'map' | 'copy',
    active: ActiveEntry | undefined,
  ): GrantStatus {
    const { flags, domain } = readGrantEntry(this.#view, reference)
    const mask = GRANT_FLAGS.type_mask | (use === 'map' ? GRANT_FLAGS.sub_page : 0)
    const granted = (flags & mask) === GRANT_FLAGS.permit_access && domain === grantee
    if (!active && !granted) return GRANT_STATUS.general_error
    if (writable && flags & GRANT_FLAGS.readonly) return GRANT_STATUS.general_error
    const set = GRANT_FLAGS.reading | (writable ? GRANT_FLAGS.writing : 0)
    this.#view.setUint16(reference * GRANT_ENTRY_SIZE, flags | set, true)
    return GRANT_STATUS.okay
  }

  #clearStatus(reference: GrantReference, writable: boolean, pins: PinCounters | undefined): void {
    let clear = 0
    if (writable && !(pins && isWritten(pins))) clear |= GRANT_FLAGS.writing
    if (!(pins && isPinned(pins))) clear |= GRANT_FLAGS.reading
    const flags = this.#view.getUint16(reference * GRANT_ENTRY_SIZE, true)
    this.#view.setUint16(reference * GRANT_ENTRY_SIZE, flags & ~clear, true)
  }
}

function isPinned(pins: PinCounters): boolean {
  return pins.hostRead + pins.hostWrite + pins.deviceRead + pins.deviceWrite > 0
}

function isWritten(pins: PinCounters): boolean {
  return pins.hostWrite + pins.deviceWrite > 0
}

function isFull(pins: PinCounters, request: PinRequest): boolean {
  const host = request.writable ? pins.hostWrite : pins.hostRead
  const device = request.writable ? pins.deviceWrite : pins.deviceRead
  return (request.host && host >= MAXIMUM_PINS) || (request.device && device >= MAXIMUM_PINS)
}

function add(pins: PinCounters, request: PinRequest, amount: 1 | -1): void {
  if (request.host) pins[request.writable ? 'hostWrite' : 'hostRead'] += amount
  if (request.device) pins[request.writable ? 'deviceWrite' : 'deviceRead'] += amount
}
