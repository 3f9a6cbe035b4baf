import { XmcError } from '@xmc/interface'

/**
 * The port to what a block device stores its sectors in. Met by a file, or by memory.
 *
 * Positions and lengths are bytes and multiples of 512; every request lies within `size`, as it was when the
 * request was made. Several may be under way at a time, in any order. The buffers are the guest's own
 * pages: they must be used before the promise settles, and not after; those of a write must not be stored into.
 *
 * What is optional may be refused with reason `unsupported`: then zeros are written, and a discard does nothing.
 */
export interface Disk {
  /** Bytes, a multiple of 512; as it was at the last `refresh`, if there is one. */
  readonly size: number
  /** Whether it refuses writes. */
  readonly readOnly: boolean
  /** What the guest sees as serial number: up to 20 ASCII characters; it should tell nothing of the host. */
  readonly identity: string
  /** Fills all of `buffers` from `position` on. */
  read(buffers: readonly Uint8Array[], position: number): Promise<void>
  /** Stores all of `buffers` from `position` on. */
  write(buffers: readonly Uint8Array[], position: number): Promise<void>
  /**
   * Makes the writes durable that were complete when it was called. Once it has failed, writes may be lost,
   * and a block device takes no later flush for a success.
   */
  flush(): Promise<void>
  /** Looks at once what size it has now. Optional: without it, the size may change by itself. */
  refresh?(): void
  /** Forgets a range: it may read as anything. Optional. */
  discard?(position: number, length: number): Promise<void>
  /**
   * Makes a range read as zeros. Optional.
   *
   * @param mayUnmap whether its space may be given back
   */
  writeZeroes?(position: number, length: number, mayUnmap: boolean): Promise<void>
}

/**
 * Why a disk cannot be opened, or a request fails.
 *
 * | reason | condition |
 * |---|---|
 * | `missing` | there is no such file |
 * | `permission` | it may not be opened so |
 * | `directory`, `not-a-file` | it is something else than a regular file or a block device |
 * | `empty` | it has no bytes |
 * | `unaligned-size` | it is to be written, and its size is no multiple of 512 |
 * | `read-only` | a write to a disk that takes none, or whose file system takes none any more |
 * | `truncated` | the file is shorter than it was |
 * | `lost-writes` | a flush or a write failed before, and no flush can promise anything until the disk is opened again |
 * | `full` | no space is left, or a quota is used up |
 * | `range` | a request reaches over the end |
 * | `closed` | the disk was closed |
 * | `unsupported` | the disk has no such request |
 * | `io` | anything else; see `errnoName` |
 */
export type DiskReason =
  | 'missing'
  | 'permission'
  | 'directory'
  | 'not-a-file'
  | 'empty'
  | 'unaligned-size'
  | 'read-only'
  | 'truncated'
  | 'lost-writes'
  | 'full'
  | 'range'
  | 'closed'
  | 'unsupported'
  | 'io'

/** `ERR_XMC_DISK`: a disk cannot be opened, or a request to it failed. */
export class DiskError extends XmcError {
  /** The disk, by the name that it was opened with. */
  readonly disk: string
  /** Which condition. */
  readonly reason: DiskReason
  /** The errno by name, as `ENOSPC`, where the system gave one. */
  readonly errnoName: string | undefined

  constructor(
    disk: string,
    reason: DiskReason,
    detail: string,
    options: ErrorOptions & { errnoName?: string | undefined } = {},
  ) {
    super('ERR_XMC_DISK', `${disk}: ${detail}`, options)
    this.disk = disk
    this.reason = reason
    this.errnoName = options.errnoName
  }
}
