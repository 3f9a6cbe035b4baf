import type { QueueDeclaration, VirtioDevice } from '../device.ts'
import type { SplitQueue, SplitQueueLayout } from '../split-queue.ts'
import type { TurnBudget, TurnClient } from '../turn-budget.ts'
import { shortageOf } from './error-parts.ts'
import type { GuestMapper } from './guest-mapper.ts'
import { QueueEpoch, QueueRequest } from './queue-request.ts'
import { RequestMemory } from './request-memory.ts'
import { RingMapping, type RingOwner } from './ring-mapping.ts'
import { RoomLine } from './room-line.ts'
import type { RoomClient, RoomWait } from './room-wait.ts'

/** What a pump needs of its transport. None of the calls throws. */
export interface PumpHost {
  readonly device: VirtioDevice
  readonly mapper: GuestMapper
  /** Bounds the work of a turn. */
  readonly budget: TurnBudget
  /** Where requests wait when the host's memory is used up. */
  readonly room: RoomWait
  /** Whether memory is mapped by `mapAsync` from the start. */
  readonly asynchronous: boolean
  /** Whether the requests in flight leave room for another. */
  hasRoom(): boolean
  /** Counts bytes of requests in flight, up or down. */
  account(bytes: number): void
  /** The device cannot go on. */
  fault(error: unknown): void
  /** Something failed for requests that nobody waits for. */
  report(error: unknown): void
  /** A request was published, and the driver wants to know if `notify`. */
  used(notify: boolean): void
  /** The last operation that was cut off is done. */
  cutOffDone(): void
}

/** Units of work that a call of a device's `handle` counts. */
const HANDLE_UNITS = 4

/**
 * Moves the requests of one queue: from the available ring, through memory and device, to the used
 * ring. Whatever it starts belongs to an epoch; `cut` ends the epoch, and what comes back later is
 * released and forgotten.
 *
 * Work is done until the turn's budget is spent, and goes on in a later turn where it stopped. A queue that is left is
 * armed, so that the driver's next request comes with a notification, or its turn is to come.
 *
 * Memory, device, interrupt and listeners are called with the queue in a state that it may be called
 * in: each of them may stop the device, or reset it, before it returns. What was decided before is looked at again after.
 */
export class QueuePump implements TurnClient, RoomClient, RingOwner {
  /** Most requests that were in flight at a time. */
  mostInFlight = 0
  /** Times that work was put off to a later turn. */
  postponed = 0
  /** Operations of the epoch: requests, and the mapping of the rings. */
  private current = 0
  /** Operations of earlier epochs that have not come back. */
  private cutOff = 0
  private epoch = new QueueEpoch()
  private sequence = 0
  private ring: SplitQueue | undefined
  private running = false
  private again = false
  /** Whether it waits for a turn. */
  private scheduled = false
  /** Requests that go on in a later turn, in order. */
  private readonly stopped: QueueRequest[] = []
  /** Requests that wait for room on the host. */
  private readonly line = new RoomLine()

  private readonly index: number
  private readonly declaration: QueueDeclaration
  private readonly host: PumpHost
  private readonly memory: RequestMemory
  private readonly rings: RingMapping

  constructor(index: number, declaration: QueueDeclaration, host: PumpHost) {
    this.index = index
    this.declaration = declaration
    this.host = host
    this.memory = new RequestMemory(index, declaration, host)
    this.rings = new RingMapping(host, this)
  }

  /** Operations that have not come back. */
  get inFlight(): number {
    return this.current + this.cutOff
  }

  /** Operations that wait for room on the host, and hold nothing of it. */
  get waitingForRoom(): number {
    return this.line.length + (this.rings.waiting ? 1 : 0)
  }

  /** Whether operations of earlier epochs have not come back. */
  get draining(): boolean {
    return this.cutOff > 0
  }

  /** Maps the rings and goes to work. */
  start(layout: SplitQueueLayout, indirect: boolean): void {
    this.memory.indirect = indirect
    this.rings.start(layout, this.epoch)
  }

  /** Looks for requests, as many as the turn's budget allows; the rest follows in later turns. */
  kick(): void {
    if (this.running) this.again = true
    else if (this.ring !== undefined) this.work(undefined)
  }

  /** Ends the epoch: the ring is released now, and requests in flight when they come back. */
  cut(): void {
    const { ring, host } = this
    this.epoch.live = false
    this.epoch = new QueueEpoch()
    this.ring = undefined
    this.again = false
    // Those that wait for room hold nothing that anybody has to wait for.
    for (const request of this.line.clear()) {
      this.memory.forget(request)
      this.current -= 1
    }
    if (this.rings.stop()) this.current -= 1
    host.room.leave(this)
    this.cutOff += this.current
    this.current = 0
    const failed = ring?.release(host.mapper)
    if (failed !== undefined) host.report(failed)
  }

  /** Its turn. */
  continue(): void {
    this.scheduled = false
    if (this.running) this.again = true
    else this.work(undefined)
  }

  /** There may be room. */
  retry(): void {
    this.line.hopes = true
    this.schedule()
  }

  /** An operation of the epoch begins. */
  begun(): void {
    this.current += 1
  }

  /** An operation has ended. */
  ended(epoch: QueueEpoch): void {
    if (epoch.live) {
      this.current -= 1
      return
    }
    this.cutOff -= 1
    if (this.cutOff === 0) this.host.cutOffDone()
  }

  /** The rings are there. */
  mapped(ring: SplitQueue): void {
    this.ring = ring
    // Requests may have been there before, and their notification.
    this.schedule()
  }

  /** The rings cannot be mapped. */
  failed(error: unknown): void {
    this.host.fault(error)
  }

  // Turns

  /** Goes on with a request, if one is given, and then with all that there is to do in this turn. */
  private work(request: QueueRequest | undefined): void {
    this.running = true
    try {
      if (request !== undefined) this.goOn(request)
      do {
        this.again = false
        if (this.line.hopes) this.tryWaiting()
        this.resume()
        if (this.stopped.length === 0) this.take()
      } while (this.again && !this.host.budget.spent)
    } catch (error) {
      this.host.fault(error)
    } finally {
      this.running = false
    }
    if (this.again || this.stopped.length > 0) this.schedule()
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    this.host.budget.wait(this)
  }

  private postpone(request: QueueRequest): void {
    this.postponed += 1
    this.stopped.push(request)
  }

  private resume(): void {
    const { stopped, host } = this
    // Those that stop again are behind the others.
    for (let left = stopped.length; left > 0 && !host.budget.spent; left -= 1) {
      const request = stopped.shift()
      if (request !== undefined) this.goOn(request)
    }
  }

  /** Takes requests from the ring, as long as they may be taken. */
  private take(): void {
    const { host } = this
    for (;;) {
      const { ring } = this
      // In order: what waits for room is first, and what goes on in this turn.
      if (ring === undefined || this.line.blocks) return
      if (this.stopped.length > 0) {
        this.again = true
        return
      }
      if (host.budget.spent) {
        this.postponed += 1
        this.schedule()
        return
      }
      let possible = this.mayTake()
      if (this.ring !== ring) continue
      if (possible) {
        const head = ring.next()
        if (head >= 0) {
          this.begin(head)
          continue
        }
        possible = this.mayTake()
        if (this.ring !== ring) continue
      }
      // What ends, and what the device resumes, looks again; whatever else there may be comes with a notification.
      if (!ring.rearm() || !possible) return
    }
  }

  private mayTake(): boolean {
    const { device } = this.host
    return (
      this.current < (this.declaration.inFlight ?? this.declaration.size) &&
      // One request is always allowed: its end is what makes the queue look for room again.
      (this.current === 0 || this.host.hasRoom()) &&
      (device.ready === undefined || device.ready(this.index))
    )
  }

  private begin(head: number): void {
    const { host } = this
    this.current += 1
    if (this.current > this.mostInFlight) this.mostInFlight = this.current
    this.sequence += 1
    const { epoch, index, sequence } = this
    const request = new QueueRequest(index, head, epoch, sequence, host.asynchronous)
    request.begun = host.room.begin(this.current > 1)
    this.goOn(request)
  }

  // Requests

  /** Takes a request through its stages, until it has to wait for something. */
  private goOn(request: QueueRequest): void {
    for (;;) {
      if (request.abandoned && request.stage !== 'release') {
        this.settleAttempt(request)
        request.begin('release')
      }
      const { stage } = request
      const ready =
        stage === 'walk'
          ? this.walk(request)
          : stage === 'map'
            ? this.map(request)
            : stage === 'serve'
              ? this.serve(request)
              : this.memory.release(request)
      if (!ready) {
        this.leave(request)
        return
      }
      if (stage === 'release') {
        this.complete(request)
        return
      }
      if (stage === 'retreat') {
        this.waitForRoom(request)
        return
      }
    }
  }

  /** A request cannot go on now: finds out what it waits for. */
  private leave(request: QueueRequest): void {
    if (request.pending > 0 || request.stage === 'serve') return
    if (request.shortage !== undefined && request.stage === 'release') this.waitForRoom(request)
    else this.postpone(request)
  }

  private walk(request: QueueRequest): boolean {
    const { ring } = this
    if (ring === undefined) return true
    try {
      return this.memory.walk(request, ring, this.wake)
    } catch (error) {
      if (this.retreats(request, error)) return true
      request.failure = error
      this.settleAttempt(request)
      request.begin('release')
      return true
    }
  }

  private map(request: QueueRequest): boolean {
    if (!this.memory.map(request, this.wake)) return false
    const { shortage } = request
    if (shortage !== undefined && this.retreats(request, shortage)) return true
    this.settleAttempt(request)
    request.stage = 'serve'
    return true
  }

  private serve(request: QueueRequest): boolean {
    const { host } = this
    if (host.budget.spent) {
      this.postpone(request)
      return false
    }
    host.budget.spend(HANDLE_UNITS)
    let result: number | Promise<number>
    try {
      result = host.device.handle(request, this.index)
    } catch (error) {
      request.answer(0, failureOf(error))
      return true
    }
    if (typeof result === 'number') {
      request.answer(result, undefined)
      return true
    }
    Promise.resolve(result).then(
      (written) => this.answered(request, written, undefined),
      (error: unknown) => this.answered(request, 0, failureOf(error)),
    )
    return false
  }

  private answered(request: QueueRequest, written: number, failure: unknown): void {
    request.answer(written, failure)
    this.wake(request)
  }

  /** Something came back that a request waited for. */
  private readonly wake = (request: QueueRequest): void => {
    if (!this.running && this.stopped.length === 0 && !this.host.budget.spent) {
      this.work(request)
      return
    }
    this.postpone(request)
    this.schedule()
  }

  /** The one end of every request: its memory is released, and only then the guest is told. */
  private complete(request: QueueRequest): void {
    const { host } = this
    const { unreleased } = request
    host.account(-request.accounted)
    this.ended(request.epoch)
    host.room.released()
    const { ring } = this
    // Giving memory back may have reset the device.
    if (request.abandoned || ring === undefined) {
      if (unreleased !== undefined) host.report(unreleased)
      return
    }
    const failure = request.failure ?? unreleased
    if (failure !== undefined) {
      host.fault(failure)
      return
    }
    const notify = ring.publish(request.head, request.written)
    // Whoever follows what is written may have reset the device.
    if (request.abandoned) return
    host.used(notify)
    // The queue may have stood still for want of room.
    this.again = true
  }

  // Room on the host

  /** Whether a request gives back what it has, to wait for room. */
  private retreats(request: QueueRequest, error: unknown): boolean {
    if (shortageOf(error) === undefined || request.abandoned) return false
    request.shortage = error
    const { stage } = request
    request.begin('retreat')
    request.resumed = stage
    return true
  }

  private waitForRoom(request: QueueRequest): void {
    const { line } = this
    const { room } = this.host
    const wasAlone = room.wasAlone(request.begun)
    if (request.waitingSince < 0) {
      request.waitingSince = room.time
      room.waits += 1
    }
    line.add(request)
    if (room.wait(this, request.shortage, request.waitingSince, wasAlone)) return
    line.remove(request)
    this.memory.giveUp(request)
    this.postpone(request)
    this.again = true
  }

  /** Lets the first of those that wait try again. */
  private tryWaiting(): void {
    const { line } = this
    line.hopes = false
    while (!this.host.budget.spent) {
      const request = line.next()
      // An attempt that takes time tells by itself how it ended.
      if (request === undefined) return
      request.begun = this.host.room.begin(false)
      request.shortage = undefined
      request.begin(request.stage === 'retreat' ? request.resumed : 'release')
      this.goOn(request)
      // It waits again: so do those behind it.
      if (line.has(request)) return
    }
    line.hopes = line.length > 0
  }

  /** A request has what it needs, or has ended: those behind it may try. */
  private settleAttempt(request: QueueRequest): void {
    request.shortage = undefined
    if (this.line.settle(request)) this.again = true
  }
}

/** What was thrown, where that says anything. */
function failureOf(error: unknown): unknown {
  return error ?? new TypeError('the device failed and did not say why')
}
