import { stat } from 'node:fs/promises'
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
  options: { readonly readOnly: boolean },
) => Promise<OpenDisk>

/** Opens a regular file as a disk. */
export const openFileDisk: DiskOpener = (path, options) => FileDisk.open(path, options)

/**
 * Opens disks, in order; none stays open when one cannot be.
 *
 * @throws SameFileError `ERR_XMC_SAME_FILE` when a file that may be written to is there twice
 * @throws as `open`
 */
export async function openDisks(
  paths: readonly string[],
  options: { readonly readOnly: boolean },
  open: DiskOpener = openFileDisk,
): Promise<readonly OpenDisk[]> {
  const disks: OpenDisk[] = []
  try {
    for (const path of paths) disks.push(await open(path, options))
    if (!options.readOnly) await requireDistinct(paths)
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
    const { dev, ino } = await stat(path, { bigint: true })
    return `${dev} ${ino}`
  } catch {
    return path
  }
}
