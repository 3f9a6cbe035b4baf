import { countPages, type ForeignMapRequest, isPageList } from '@xmc/interface'
import type { ForeignMemory } from '../../src/index.ts'

/** One call at the port, as the tests compare it. */
export type Call =
  | { readonly map: readonly number[]; readonly at: number; readonly writable: boolean }
  | { readonly mapAsync: readonly number[]; readonly at: number; readonly writable: boolean }
  | { readonly unmap: number; readonly at: number }

/** Foreign memory that notes its calls and answers as it was told to. */
export class ScriptedForeignMemory implements ForeignMemory {
  readonly calls: Call[] = []
  readonly requests: ForeignMapRequest[] = []
  /** Errno to give for a frame, with the sign to give it with. */
  readonly frameErrors = new Map<number, number>()
  /** Thrown by the next calls, when set. */
  refusal: unknown

  map(request: ForeignMapRequest): void {
    this.calls.push({
      map: framesOf(request),
      at: request.windowPage,
      writable: request.writable,
    })
    this.#answer(request)
  }

  async mapAsync(request: ForeignMapRequest): Promise<void> {
    this.calls.push({
      mapAsync: framesOf(request),
      at: request.windowPage,
      writable: request.writable,
    })
    await Promise.resolve()
    this.#answer(request)
  }

  unmap(_window: unknown, windowPage: number, pageCount: number): void {
    this.calls.push({ unmap: pageCount, at: windowPage })
    if (this.refusal !== undefined) throw this.refusal
  }

  #answer(request: ForeignMapRequest): void {
    this.requests.push(request)
    if (this.refusal !== undefined) throw this.refusal
    for (const [index, frame] of framesOf(request).entries()) {
      if (request.errors !== undefined) request.errors[index] = this.frameErrors.get(frame) ?? 0
    }
  }
}

function framesOf(request: ForeignMapRequest): readonly number[] {
  const { frames } = request
  if (isPageList(frames)) return [...frames]
  return Array.from({ length: countPages(frames) }, (_, index) => frames.first + index)
}
