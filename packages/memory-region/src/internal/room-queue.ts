import { WindowFullError } from '@xmc/core/errors'
import { XmcError, type XmcErrorCode } from '@xmc/interface'
import { callAll, throwAll } from './call-all.ts'

/** Milliseconds until somebody who waits for room outside the process looks again; doubled each time. */
const FIRST_LOOK = 10

/** Most milliseconds between two looks. */
const LAST_LOOK = 1000

/**
 * Looks for room while nothing of the space would be released. Outside the process: 2.55 s in all. Inside: 70 ms, since
 * what a map failed for may have been released before somebody came to wait, by others who tried at the same time.
 */
const LOOKS_OUTSIDE = 8
const LOOKS_INSIDE = 3

/** Milliseconds after which a look belongs to something else that is missing. */
const FORGOTTEN = 4 * LAST_LOOK

/** Milliseconds between two calls of those who wait, so that their own attempts do not keep the process busy. */
const LEAST_PAUSE = 1

/** Shortages that only releases of this process end. */
const INSIDE: ReadonlySet<XmcErrorCode> = new Set([
  'ERR_XMC_WINDOW_FULL',
  'ERR_XMC_BOUNCE_BUDGET',
  'ERR_XMC_SHARE',
])

/**
 * Who waits for room in the memory that a space maps from. They are called when something was released,
 * and by a timer: the room may be made outside the space, or even outside the process.
 */
export class RoomQueue {
  /** Whether anybody waits. */
  waiting = false
  private readonly clients: Set<() => void> = new Set()
  private outside = false
  /** Looks of each who waits, since something was held last, and when the last one was. */
  private readonly idleLooks: Map<object, { readonly count: number; readonly at: number }> =
    new Map()
  private delay = 0
  private look: NodeJS.Timeout | undefined
  /** Takes back the call that is due. */
  private takeBack: (() => void) | undefined
  private lastCall = 0

  /** Notes why a map failed. */
  refused(error: unknown): void {
    if (error instanceof XmcError && error.shortage === 'passing') {
      // What could not be unmapped is tried again after a time.
      const isLost = error instanceof WindowFullError && error.lostPages > 0
      this.outside = isLost || !INSIDE.has(error.code)
    }
  }

  /**
   * Calls `client` once, in a later turn, when there may be room.
   *
   * @param idle whether nothing is held that would be released
   * @param owner who waits
   * @returns how to wait no longer; undefined where waiting does not help
   */
  wait(client: () => void, idle: boolean, owner: object): (() => void) | undefined {
    const at = performance.now()
    const looks = this.idleLooks.get(owner)
    // What was looked for long ago was found.
    const count = looks === undefined || at - looks.at > FORGOTTEN ? 0 : looks.count
    if (!idle || count >= (this.outside ? LOOKS_OUTSIDE : LOOKS_INSIDE)) {
      this.idleLooks.delete(owner)
      if (idle) return undefined
    } else this.idleLooks.set(owner, { count: count + 1, at })
    // An object of its own: the same function may wait twice.
    const entry = (): void => client()
    this.clients.add(entry)
    this.waiting = true
    this.look ??= setTimeout(() => this.callFirst(), idle ? delayOf(count) : this.nextDelay())
    return () => {
      if (this.clients.delete(entry) && this.clients.size === 0) this.stop()
    }
  }

  /** Something was released: calls those who wait, in a later turn. */
  released(): void {
    if (this.takeBack !== undefined) return
    const call = (): void => {
      this.delay = 0
      this.callClients()
    }
    if (performance.now() - this.lastCall >= LEAST_PAUSE) {
      const turn = setImmediate(call)
      this.takeBack = (): void => clearImmediate(turn)
    } else {
      const timer = setTimeout(call, LEAST_PAUSE)
      this.takeBack = (): void => clearTimeout(timer)
    }
  }

  /** Forgets who waits. */
  close(): void {
    this.clients.clear()
    this.idleLooks.clear()
    this.stop()
  }

  private nextDelay(): number {
    if (!this.outside) return LAST_LOOK
    this.delay = this.delay === 0 ? FIRST_LOOK : Math.min(2 * this.delay, LAST_LOOK)
    return this.delay
  }

  /** Calls one alone, so that those who try at the same time do not take each other's room for ever. */
  private callFirst(): void {
    this.look = undefined
    this.lastCall = performance.now()
    const [first] = this.clients
    if (first === undefined) return
    this.clients.delete(first)
    if (this.clients.size === 0) this.stop()
    else this.look = setTimeout(() => this.callFirst(), FIRST_LOOK)
    first()
  }

  private callClients(): void {
    this.lastCall = performance.now()
    // A copy: those that wait again while they are called wait for the next time.
    const clients = [...this.clients]
    this.stop()
    const errors: unknown[] = []
    for (const client of clients) {
      if (this.clients.delete(client)) callAll([client], errors)
    }
    throwAll(errors)
  }

  private stop(): void {
    this.waiting = false
    clearTimeout(this.look)
    this.look = undefined
    this.takeBack?.()
    this.takeBack = undefined
  }
}

/** Milliseconds until a look where nothing is held, after `count` others. */
function delayOf(count: number): number {
  return Math.min(FIRST_LOOK * 2 ** count, LAST_LOOK)
}
