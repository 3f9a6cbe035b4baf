import { constants } from 'node:os'
import { type DomainId, InvalidArgumentError, RefusedError, SystemCallError } from '@xmc/interface'
import { DomainGrants } from './domain-grants.ts'
import { DomainMemory } from './domain-memory.ts'
import type { MappedDomain, Parts } from './internal/parts.ts'
import { injectedError } from './internal/port-call.ts'
import type { Range } from './internal/ranges.ts'
import { IoreqAbortedError, type IoreqServers } from './ioreq.ts'
import type { Hold } from './machine-memory.ts'
import { FRAME_LIMIT, PhysicalToMachine } from './p2m.ts'

/**
 * Where a domain is in its life. A domain is `dying` while it is destroyed and somebody still maps its
 * memory, `destroyed` after that.
 */
export type DomainState = 'running' | 'shutdown' | 'crashed' | 'dying' | 'destroyed'

/** How a domain stopped running. */
export type DomainEnd = 'shutdown' | 'crashed' | 'destroyed'

/** What a domain asks of the hypervisor that made it. */
export interface DomainHost {
  readonly parts: Parts
  /** Is told of an error that no call can throw. */
  readonly report: (error: unknown) => void
  /** Takes away what the hypervisor keeps of a domain that starts to die: its devices, ports, lines. */
  dismantle(domain: Domain): void
  /** Forgets a domain that is gone. */
  forget(domain: Domain): void
}

/** A domain. Made by `Hypervisor.createDomain`. */
export class Domain implements MappedDomain {
  readonly id: DomainId
  readonly name: string
  /** Its memory as it sees it itself. */
  readonly memory: DomainMemory
  /** Its grant table as its kernel handles it. */
  readonly grants: DomainGrants
  /** The ioreq servers that serve its memory-mapped I/O. */
  readonly ioreq: IoreqServers
  /** Which machine page stands behind each of its frames. To be changed through the domain only. */
  readonly p2m: PhysicalToMachine = new PhysicalToMachine()
  readonly #host: DomainHost
  readonly #holds = new Set<Hold>()
  readonly #deathListeners = new Set<(end: DomainEnd) => void>()
  #state: DomainState = 'running'
  #invalidating = false
  #invalidateAgain = false

  constructor(host: DomainHost, id: DomainId, name: string, ioreq: IoreqServers) {
    this.#host = host
    this.id = id
    this.name = name
    this.ioreq = ioreq
    this.memory = new DomainMemory(id, this.p2m, host.parts.machine)
    this.grants = new DomainGrants(host.parts.grantTables, id)
  }

  /** Where it is in its life. */
  get state(): DomainState {
    return this.#state
  }

  /** True from the start of its destruction. */
  get isDying(): boolean {
    return this.#state === 'dying' || this.#state === 'destroyed'
  }

  /**
   * Puts new pages of zeros behind those of `count` frames from `frame` on that are holes. Frames that
   * are populated together are consecutive in the machine, too.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for frames outside 0 to 2^52 − 1
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` when the domain is dying, `ENOMEM` when the machine
   * has no page left
   */
  populate(frame: number, count = 1): void {
    checkFrames(frame, count)
    this.#requireAlive('populate')
    const { parts } = this.#host
    parts.accounting.count('domain.populate', count)
    const fault = parts.faults.next('domain.populate', count)
    if (fault !== undefined) throw injectedError('populate', fault)
    this.memory.reserve(frame, count)
    for (const hole of this.p2m.holesIn(frame, count)) {
      this.p2m.insert({ ...hole, machine: parts.machine.allocate(hole.count) })
    }
  }

  /**
   * Makes holes of `count` frames from `frame` on, as a balloon does. Who maps one keeps the page and
   * its bytes; to the guest it is gone. Enabled ioreq servers are told to drop what they have mapped.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for frames outside 0 to 2^52 − 1
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` (`ESRCH`) when the domain is dying
   */
  depopulate(frame: number, count = 1): void {
    checkFrames(frame, count)
    this.#requireAlive('depopulate')
    if (this.#remove(frame, count) > 0) this.#invalidate()
  }

  /**
   * Pages frames out: a foreign map of one gets `ENOENT`, a grant map or copy GNTST −12, until `pageIn`.
   * The domain itself does not notice.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for frames outside 0 to 2^52 − 1
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `EINVAL` for a hole, `EBUSY` for a frame that somebody maps;
   * nothing was paged out
   */
  pageOut(frame: number, count = 1): void {
    checkFrames(frame, count)
    this.#requireAlive('page out')
    const { machine, grantTables } = this.#host.parts
    for (let at = frame; at < frame + count; at++) {
      const page = this.p2m.machineOf(at)
      const { EBUSY, EINVAL } = constants.errno
      if (page < 0) throw refused('page out', EINVAL, this, at, 'is a hole')
      if (machine.isHeld(page) || grantTables.isPinned(page)) {
        throw refused('page out', EBUSY, this, at, 'is mapped')
      }
    }
    for (let at = frame; at < frame + count; at++) this.p2m.setPagedOut(at, true)
  }

  /**
   * Pages frames in again, with the bytes they had.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for frames outside 0 to 2^52 − 1
   * @throws SystemCallError `ERR_XMC_SYSTEM_CALL` (`EINVAL`) for a hole
   */
  pageIn(frame: number, count = 1): void {
    checkFrames(frame, count)
    for (let at = frame; at < frame + count; at++) {
      if (this.p2m.machineOf(at) < 0) {
        throw refused('page in', constants.errno.EINVAL, this, at, 'is a hole')
      }
      this.p2m.setPagedOut(at, false)
    }
  }

  /**
   * Stops the domain as a power-off does. Its memory and grants stay, and can still be mapped.
   *
   * @throws RefusedError `ERR_XMC_REFUSED` for the control domain
   */
  shutdown(): void {
    this.#stop('shutdown')
  }

  /**
   * Stops the domain as a crash does. Its memory and grants stay, and can still be mapped.
   *
   * @throws RefusedError `ERR_XMC_REFUSED` for the control domain
   */
  crash(): void {
    this.#stop('crashed')
  }

  /**
   * Destroys the domain: what it had mapped and bound is released, its memory is freed but for pages
   * that somebody maps, and nothing of it can be mapped again. Live mappings go on working; the domain
   * is `dying` until the last one goes.
   *
   * @throws RefusedError `ERR_XMC_REFUSED` for the control domain
   * @throws FailedPageTouchedError `ERR_XMC_FAILED_PAGE_TOUCHED` when the close of its devices does; it is
   * destroyed all the same
   */
  destroy(): void {
    if (this.isDying) return
    this.#requireGuest('destroyed')
    const wasRunning = this.#state === 'running'
    this.#state = 'dying'
    try {
      this.#host.dismantle(this)
    } finally {
      this.ioreq.removeDomain()
      this.memory.close()
      this.#remove(0, FRAME_LIMIT)
      this.#bury()
      if (wasRunning) this.#announce('destroyed')
    }
  }

  /**
   * Calls `listener` once, when the domain stops running; returns the function that stops it. It is
   * called at the end of `shutdown`, `crash` or `destroy`, which throws what the listener throws.
   */
  onDeath(listener: (end: DomainEnd) => void): () => void {
    this.#deathListeners.add(listener)
    return () => {
      this.#deathListeners.delete(listener)
    }
  }

  /** Claims machine pages. For devices. */
  hold(ranges: readonly Range[]): Hold {
    const hold = this.#host.parts.machine.hold(ranges)
    this.#holds.add(hold)
    return hold
  }

  /** Gives a claim up. For devices. */
  release(hold: Hold): void {
    this.#holds.delete(hold)
    this.#host.parts.machine.release(hold)
    this.#bury()
  }

  #stop(end: 'shutdown' | 'crashed'): void {
    this.#requireGuest(end)
    if (this.#state !== 'running') return
    this.#state = end
    this.#announce(end)
  }

  #announce(end: DomainEnd): void {
    const listeners = [...this.#deathListeners]
    this.#deathListeners.clear()
    for (const listener of listeners) listener(end)
  }

  #bury(): void {
    if (this.#state !== 'dying' || this.#holds.size > 0) return
    this.#state = 'destroyed'
    this.#host.forget(this)
  }

  #remove(frame: number, count: number): number {
    const removed = this.p2m.remove(frame, count)
    for (const run of removed) {
      this.#host.parts.machine.free({ first: run.machine, count: run.count })
    }
    return removed.length
  }

  /** As on Xen, changes that come while an invalidation waits for its answers are one more of them. */
  #invalidate(): void {
    this.#invalidateAgain = this.#invalidating
    if (this.#invalidating) return
    this.#invalidating = true
    this.ioreq
      .broadcastInvalidate()
      .catch((error: unknown) => {
        // A server that is destroyed meanwhile has nothing left to drop.
        if (!(error instanceof IoreqAbortedError)) this.#host.report(error)
      })
      .finally(() => {
        this.#invalidating = false
        if (this.#invalidateAgain) this.#invalidate()
      })
  }

  #requireAlive(call: string): void {
    if (!this.isDying) return
    throw new SystemCallError(call, constants.errno.ESRCH, `domain ${this.id} is ${this.#state}`)
  }

  #requireGuest(what: string): void {
    if (this.id !== 0) return
    throw new RefusedError(`the control domain cannot be ${what}: close the hypervisor`)
  }
}

function refused(
  call: string,
  errno: number,
  domain: Domain,
  frame: number,
  problem: string,
): SystemCallError {
  const detail = `frame 0x${frame.toString(16)} of domain ${domain.id} ${problem}`
  return new SystemCallError(call, errno, detail)
}

function checkFrames(frame: number, count: number): void {
  if (!Number.isSafeInteger(frame) || frame < 0 || frame >= FRAME_LIMIT) {
    throw new InvalidArgumentError('frame', 'an integer from 0 to 2^52 - 1', frame)
  }
  if (!Number.isSafeInteger(count) || count < 1 || count > FRAME_LIMIT - frame) {
    const expected = `an integer from 1 to ${FRAME_LIMIT - frame}`
    throw new InvalidArgumentError('count', expected, count)
  }
}
