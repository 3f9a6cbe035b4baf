import { ClosedError } from '@xmc/interface'
import { XenUnavailableError } from '../errors.ts'
import type { SystemCalls } from './system-calls.ts'

/**
 * An open device file. Its descriptor is closed once, and not before the last call on another thread
 * has come back: the number could be somebody else's file by then.
 */
export class Device {
  readonly calls: SystemCalls
  readonly path: string
  readonly #descriptor: number
  #callsUnderWay = 0
  #closed = false

  /** @throws XenUnavailableError `ERR_XMC_XEN_UNAVAILABLE` */
  constructor(calls: SystemCalls, path: string, flags = 0) {
    this.calls = calls
    this.path = path
    this.#descriptor = calls.open(path, flags)
    if (this.#descriptor < 0) throw new XenUnavailableError(path, -this.#descriptor)
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /**
   * The descriptor. It is the device's own: do not close it.
   *
   * @throws ClosedError `ERR_XMC_CLOSED`
   */
  get descriptor(): number {
    if (this.#closed) throw new ClosedError(this.path)
    return this.#descriptor
  }

  /** An ioctl; gives what it returned, or a negative errno. @throws ClosedError `ERR_XMC_CLOSED` */
  ioctl(request: number, argument: Uint8Array): number {
    return this.calls.ioctl(this.descriptor, request, argument)
  }

  /** Holds the descriptor open for `action`, also over a close. @throws ClosedError `ERR_XMC_CLOSED` */
  async during<Result>(action: (descriptor: number) => Promise<Result>): Promise<Result> {
    const { descriptor } = this
    this.#callsUnderWay++
    try {
      return await action(descriptor)
    } finally {
      this.#callsUnderWay--
      if (this.#closed && this.#callsUnderWay === 0) this.calls.close(descriptor)
    }
  }

  /** Refuses further calls and closes the descriptor. A second call does nothing. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#callsUnderWay === 0) this.calls.close(this.#descriptor)
  }
}
