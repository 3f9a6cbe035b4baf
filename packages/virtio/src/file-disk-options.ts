import type { CallPool } from './internal/call-pool.ts'
import type { FileCalls } from './internal/file-calls.ts'

/** How a file is opened as a disk. */
export interface FileDiskOptions {
  /** Whether it is opened for reading alone; by default false. */
  readonly readOnly?: boolean | undefined
  /** See `Disk.identity`; by default empty, since the name of a file is the host's business. */
  readonly identity?: string | undefined
  /**
   * Gives the space of a range back, so that it reads as zeros, as `fallocate` with PUNCH_HOLE does
   * (`punchHole` of `@xmc/hostmem`); Node has no such call. With this the disk offers `discard`, and
   * zeros cost no space. Where the file cannot do it (`EOPNOTSUPP` and its like as `code` or `errnoName`), it is
   * not called again: zeros are written, and a discard does nothing.
   */
  readonly deallocate?:
    | ((descriptor: number, position: number, length: number) => void | Promise<void>)
    | undefined
  /**
   * Whether reads up to 32 KiB may be made on the calling thread while they turn out quick, that is
   * from the page cache; by default true. A file on a medium that may hang, as a network file system,
   * is better off without: a read that hangs holds up the process.
   */
  readonly quickReads?: boolean | undefined
  /**
   * Most system calls on the thread pool at a time, 1 to 1024; by default as many as the pool has threads but one.
   * With no more than that, the open disks of a process leave one thread of the pool to everything else, and
   * each disk without a call under way can make one, up to as many disks as there are threads left. With more,
   * a disk may fill the pool, and make all others wait while its file is slow; many small calls cost less so.
   */
  readonly callsInFlight?: number | undefined
  /** @internal */
  readonly calls?: FileCalls | undefined
  /** @internal */
  readonly pool?: CallPool | undefined
}

/** Counts since a file was opened as a disk. */
export interface FileDiskStatistics {
  /** Most system calls on the thread pool at a time. */
  readonly callsInFlight: number
  /** System calls that are on the thread pool now. */
  readonly running: number
  /** Most that were there at a time. */
  readonly mostRunning: number
  /** System calls that wait for a thread now. */
  readonly waiting: number
  /** System calls that had to wait for a thread. */
  readonly waited: number
  /** Ranges whose space was given back. */
  readonly deallocations: number
  /** Ranges whose space should have been given back: zeros were written, or a discard did nothing. */
  readonly keptRanges: number
}
