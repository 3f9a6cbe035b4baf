import { performance } from 'node:perf_hooks'
import type { GuestMemory } from '../guest-memory.ts'
import { shortageOf } from './error-parts.ts'

/** Somebody who waits for room on the host. */
export interface RoomClient {
  /** There may be room: it is to try again, in a later turn. Does not throw. */
  retry(): void
}

/** Milliseconds until the first look for room, where the memory does not tell; doubled each time. */
const FIRST_LOOK = 1

/** Most milliseconds between two looks. */
const LAST_LOOK = 100

/** Milliseconds until a look where the memory does tell: it may not know of everybody who makes room. */
const SLOW_LOOK = 1000

/**
 * Waiting for room on the host, of all that a transport has: windows, bounce bytes and places of the map-track
 * table are others' too, and come free when others release.
 */
export class RoomWait {
  /** Times that somebody began to wait. */
  waits = 0

  private readonly memory: GuestMemory
  private readonly patience: number
  /** Operations of the transport that hold memory, or will, and end by themselves. */
  private readonly holding: () => number
  private readonly clients = new Set<RoomClient>()
  private cancel: (() => void) | undefined
  private timer: NodeJS.Timeout | undefined
  private delay = FIRST_LOOK
  /** Operations that began to take memory. */
  private begun = 0

  constructor(memory: GuestMemory, patience: number, holding: () => number) {
    this.memory = memory
    this.patience = patience
    this.holding = holding
  }

  /**
   * Notes that an operation begins to take memory. Returns what `wasAlone` takes.
   *
   * @param others whether the caller knows that others have memory: to count them takes longer
   */
  begin(others: boolean): number {
    this.begun += 1
    return others || this.holding() > 1 ? -1 : this.begun
  }

  /** Whether no other operation of the transport has had memory since `begin`, or begun to take any. */
  wasAlone(begun: number): boolean {
    return begun === this.begun
  }

  /** The time in ms, for `since` of a wait. */
  get time(): number {
    return performance.now()
  }

  /**
   * Calls `client` once, when there may be room.
   *
   * @param error why there was none
   * @param since when it began to wait for that
   * @param wasAlone whether nothing beside it took memory while it tried. Else it may have failed for what others
   * of the transport had, and have given back by now
   * @returns false when waiting does not help: the request could never fit
   */
  wait(client: RoomClient, error: unknown, since: number, wasAlone: boolean): boolean {
    const isHeld = this.holding() > 0
    if (!isHeld && shortageOf(error) === 'lasting') return false
    const alone = wasAlone && !isHeld
    const { memory } = this
    if (this.cancel === undefined && memory.awaitRoom !== undefined) {
      this.cancel = memory.awaitRoom(() => {
        this.cancel = undefined
        this.callClients()
      })
      if (this.cancel === undefined && alone) return false
    }
    const told = this.cancel !== undefined
    if (!told && alone && this.time - since >= this.patience) return false
    this.timer ??= setTimeout(() => this.callClients(), told ? SLOW_LOOK : this.delay)
    this.delay = Math.min(2 * this.delay, LAST_LOOK)
    this.clients.add(client)
    return true
  }

  /** A client waits no longer. */
  leave(client: RoomClient): void {
    if (this.clients.delete(client) && this.clients.size === 0) this.stop()
  }

  /** Something of the transport was given back. */
  released(): void {
    if (this.clients.size === 0) return
    this.delay = FIRST_LOOK
    this.callClients()
  }

  private callClients(): void {
    const clients = [...this.clients]
    this.clients.clear()
    this.stop()
    for (const client of clients) client.retry()
  }

  private stop(): void {
    this.cancel?.()
    this.cancel = undefined
    clearTimeout(this.timer)
    this.timer = undefined
  }
}
