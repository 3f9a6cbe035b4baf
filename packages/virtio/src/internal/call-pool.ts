/** Threads of libuv's pool unless the environment says otherwise. */
const DEFAULT_THREADS = 4
/** libuv has no more. */
const MOST_THREADS = 1024

/**
 * Shares a pool of threads among the files of a process. A call that hangs takes a thread until it ends, so
 * calls may take all threads but one, which is left to the rest of the process; and a file that has a call
 * under way gets no further place that a file without one would need. Files that wait take turns.
 *
 * So up to as many files as there are places, each makes at least one call at a time, whatever the others do.
 */
export class CallPool {
  /** Threads that calls may take at a time. */
  readonly places: number
  #running = 0
  /** Lanes that are open and have no call under way: a place is kept for each. */
  #idle = 0
  /** Lanes with calls that wait for a place, the next to be asked first. */
  readonly #waiting: CallLane[] = []

  /** @param threads of the pool, 1 or more */
  constructor(threads: number) {
    this.places = Math.max(1, threads - 1)
  }

  /**
   * Opens a lane, for one file; `limit` is the most calls that it makes at a time, 1 or more. One with a limit over
   * the places has none to wait for: it may fill the pool, which the user of such a limit wants.
   */
  open(limit: number = this.places): CallLane {
    if (limit <= this.places) this.#idle += 1
    return new CallLane(this, limit)
  }

  /** Gives up a lane without calls. @internal */
  closed(): void {
    this.#idle -= 1
    this.#serve()
  }

  /** Takes a place for a lane with `running` calls under way, if there is one for it. @internal */
  take(running: number): boolean {
    const free = this.places - this.#running
    if (free <= (running === 0 ? 0 : this.#idle)) return false
    this.#running += 1
    if (running === 0) this.#idle -= 1
    return true
  }

  /** Gives a place of a lane back that has `running` calls left. @internal */
  give(running: number): void {
    this.#running -= 1
    if (running === 0) this.#idle += 1
    this.#serve()
  }

  /** Puts a lane in the row, if it is not there. @internal */
  wait(lane: CallLane): void {
    if (!this.#waiting.includes(lane)) this.#waiting.push(lane)
  }

  /** Lets lanes that wait start a call each, in turn, until none can. */
  #serve(): void {
    for (let refused = 0; refused < this.#waiting.length; ) {
      if (this.#running >= this.places) return
      const lane = this.#waiting.shift()
      if (lane === undefined) return
      refused = lane.next() ? 0 : refused + 1
      if (lane.waiting > 0) this.wait(lane)
    }
  }
}

/** The calls of one file, in the order in which they came. */
export class CallLane {
  /** Most calls at a time. */
  readonly limit: number
  /** Calls under way. */
  running = 0
  /** Most calls that were under way at a time. */
  mostRunning = 0
  /** Calls that had to wait for a place. */
  waited = 0
  readonly #pool: CallPool
  readonly #free: boolean
  #queue: (() => void)[] = []
  #first = 0
  #closed = false

  /** @internal */
  constructor(pool: CallPool, limit: number) {
    this.#pool = pool
    this.limit = limit
    this.#free = limit > pool.places
  }

  /** Calls that wait for a place. */
  get waiting(): number {
    return this.#queue.length - this.#first
  }

  /** Makes a call now, or when there is a place; each is followed by one `ended`. */
  run(call: () => void): void {
    if (this.waiting === 0 && this.#take()) {
      call()
      return
    }
    this.waited += 1
    this.#queue.push(call)
    if (!this.#free) this.#pool.wait(this)
  }

  /** A call is over. */
  ended(): void {
    this.running -= 1
    if (!this.#free) this.#pool.give(this.running)
    else if (this.waiting > 0) this.next()
  }

  /** Ends the lane; no call may be under way or come. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (!this.#free) this.#pool.closed()
  }

  /** Starts the call that waits longest, if there is a place; returns whether it did. @internal */
  next(): boolean {
    const call = this.#queue[this.#first]
    if (call === undefined || !this.#take()) return false
    this.#first += 1
    if (this.#first === this.#queue.length) {
      this.#queue = []
      this.#first = 0
    } else if (this.#first >= 1024) {
      this.#queue = this.#queue.slice(this.#first)
      this.#first = 0
    }
    call()
    return true
  }

  #take(): boolean {
    if (this.running >= this.limit) return false
    if (!this.#free && !this.#pool.take(this.running)) return false
    this.running += 1
    if (this.running > this.mostRunning) this.mostRunning = this.running
    return true
  }
}

/** The threads of libuv's pool, as it reads them from the environment when it is first used. */
export function poolThreads(environment: NodeJS.ProcessEnv = process.env): number {
  const number = Number.parseInt(environment['UV_THREADPOOL_SIZE'] ?? `${DEFAULT_THREADS}`, 10)
  return Number.isNaN(number) ? 1 : Math.min(MOST_THREADS, Math.max(1, number))
}

/** libuv has one pool for the process, so its places are counted for the process. */
let shared: CallPool | undefined

/** The pool of the process. */
export function processCallPool(): CallPool {
  shared ??= new CallPool(poolThreads())
  return shared
}
