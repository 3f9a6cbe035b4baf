import type { ForeignMemory } from '@xmc/foreign'
import type { MemoryFile } from '@xmc/hostmem'
import type { ForeignMapRequest, TargetWindow, WindowPage } from '@xmc/interface'

/**
 * Foreign memory that is a file: frame n is page n. The least that a provider can do, so that what is
 * measured is what stands above it.
 */
export class MemoryFileFrames implements ForeignMemory {
  readonly #file: MemoryFile

  constructor(file: MemoryFile) {
    this.#file = file
  }

  map({ window, windowPage, frames, writable, errors }: ForeignMapRequest): void {
    if (!('first' in frames)) throw new TypeError('only runs of frames are mapped here')
    window.map(windowPage, frames.count, this.#file.fd, frames.first * 4096, writable)
    errors?.fill(0, 0, frames.count)
  }

  async mapAsync(request: ForeignMapRequest): Promise<void> {
    this.map(request)
  }

  unmap(window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    window.reset(windowPage, pageCount)
  }
}
