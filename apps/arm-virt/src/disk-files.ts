import { stat } from 'node:fs/promises'
import { punchHole } from '@xmc/hostmem'
import { type Disk, FileDisk } from '@xmc/virtio'
import { SameFileError } from './errors.ts'

/** A disk that was opened here, and is closed here. */
export interface OpenDisk extends Disk {
  /** Bytes of its contents; `size` is this, rounded up to sectors. */
  readonly fileSize: number
  close(): Promise<void>
}

/** How a disk is opened. */
export type DiskOpener = (
  path: string,
  options: {
    readonly readOnly: boolean
    /** What the guest sees as serial number; by default none. */
    readonly identity?: string | undefined
  },
) => Promise<OpenDisk>

/** Opens a regular file or a block device as a disk that can give space back. */
export const openFileDisk: DiskOpener = (path, options) =>
  FileDisk.open(path, { ...options, deallocate: punchHole })

/**
 * Opens disks, in order; none stays open when one cannot be.
 *
 * @throws SameFileError `ERR_XMC_SAME_FILE` when a file that may be written to is there twice
 * @throws as `open`
 */
export async function openDisks(
  paths: readonly string[],
  options: { readonly readOnly: boolean; readonly serials?: readonly string[] | undefined },
  open: DiskOpener = openFileDisk,
): Promise<readonly OpenDisk[]> {
  const { readOnly, serials = [] } = options
  const disks: OpenDisk[] = []
  try {
    for (const [index, path] of paths.entries()) {
      disks.push(await open(path, { readOnly, identity: serials[index] }))
    }
    if (!readOnly) await requireDistinct(paths)
    return disks
  } catch (error) {
    for (const disk of disks) await disk.close()
    throw error
  }
}

/**
 * Refuses paths that lead to one file, by whatever names.
 *
 * @throws SameFileError `ERR_XMC_SAME_FILE`
 */
export async function requireDistinct(paths: readonly string[]): Promise<void> {
  const seen = new Map<string, string>()
  for (const path of paths) {
    const file = await identityOf(path)
    const other = seen.get(file)
    if (other !== undefined) throw new SameFileError(other, path)
    seen.set(file, path)
  }
}

/** What tells a file from others, or the path where there is no file: disks need not be files. */
async function identityOf(path: string): Promise<string> {
  try {
    const found = await stat(path, { bigint: true })
    // A block device may have several nodes.
    return found.isBlockDevice() ? `device ${found.rdev}` : `${found.dev} ${found.ino}`
  } catch {
    return path
  }
}
