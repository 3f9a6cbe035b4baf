import { createForeignCache, type ForeignCacheOptions } from '@xmc/foreign'
import { createGrantCache } from '@xmc/grants'
import { createMemoryFile, type HostMemoryWindow, type MemoryFile, openWindow } from '@xmc/hostmem'
import { domainId, domainId as granterId } from '@xmc/interface'
import { MemoryFileFrames } from './providers/memory-file-frames.ts'
import { MemoryFileGrants } from './providers/memory-file-grants.ts'

/** Bytes of a bucket of foreign memory. */
export const BUCKET: number = 2 ** 20

/** Pages of a bucket of foreign memory. */
export const BUCKET_PAGES: number = BUCKET / 4096

/** How a foreign cache of a benchmark differs from the default. */
type CacheOptions = Partial<Pick<ForeignCacheOptions, 'retention' | 'bucketShift'>> & {
  /** Bytes of its window; 4 GiB by default, as in a product. */
  readonly windowBytes?: number | undefined
}

/** Memory that stands for a guest's: a file of pages that caches map, and that a limit maps by itself. */
export class Guest {
  readonly file: MemoryFile

  /** @param bytes of memory; only what is touched is committed */
  constructor(bytes: number) {
    this.file = createMemoryFile({ name: 'benchmark', size: bytes })
  }

  /** A cache by guest frame, in a window of its own. */
  foreign(options: CacheOptions = {}): ReturnType<typeof createForeignCache> {
    const { windowBytes = 2 ** 32, ...rest } = options
    return createForeignCache({
      ...rest,
      memory: new MemoryFileFrames(this.file),
      domain: domainId(1),
      window: openWindow({ bytes: windowBytes }),
    })
  }

  /** A cache by grant reference, in a window of its own. */
  grants(windowBytes: number = 2 ** 28): ReturnType<typeof createGrantCache> {
    return createGrantCache({
      table: new MemoryFileGrants(this.file),
      domain: granterId(1),
      window: openWindow({ bytes: windowBytes }),
    })
  }

  /** A window with nothing of a cache in it, for a limit. */
  window(bytes: number): HostMemoryWindow {
    return openWindow({ bytes })
  }
}
