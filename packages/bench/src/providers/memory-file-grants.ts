import type { GrantTable } from '@xmc/grants'
import type { MemoryFile } from '@xmc/hostmem'
import type { GrantMapRequest, TargetWindow, WindowPage } from '@xmc/interface'

/**
 * A grant table whose reference n grants page n of a file. The least that a provider can do, so that what
 * is measured is what stands above it.
 */
export class MemoryFileGrants implements GrantTable {
  readonly #file: MemoryFile

  constructor(file: MemoryFile) {
    this.#file = file
  }

  map({ window, windowPage, references, writable }: GrantMapRequest): void {
    if (!('first' in references)) throw new TypeError('only runs of references are mapped here')
    window.map(windowPage, references.count, this.#file.fd, references.first * 4096, writable)
  }

  async mapAsync(request: GrantMapRequest): Promise<void> {
    this.map(request)
  }

  unmap(window: TargetWindow, windowPage: WindowPage, pageCount: number): void {
    window.reset(windowPage, pageCount)
  }

  async unmapAsync(window: TargetWindow, windowPage: WindowPage, count: number): Promise<void> {
    this.unmap(window, windowPage, count)
  }

  setUnmapNotify(): void {
    throw new Error('pages of a file have no unmap notification')
  }

  copy(): Int16Array {
    throw new Error('pages of a file are not copied by a hypervisor')
  }
}
