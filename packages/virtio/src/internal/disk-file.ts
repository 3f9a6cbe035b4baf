import fs from 'node:fs'
import { VIRTIO_BLK_SECTOR_SIZE } from '../block-protocol.ts'
import { DiskError } from '../disk.ts'
import { diskError } from './disk-errors.ts'
import type { FileCalls } from './file-calls.ts'

/** A file that was opened as a disk. */
export interface DiskFile {
  readonly descriptor: number
  /** Bytes. */
  readonly size: number
}

/**
 * Opens a regular file or a block device, and nothing else.
 *
 * What a path names may change between two calls, so that kind and size are those of the descriptor. The
 * path is looked at first all the same, since opening some devices does something; and it is opened without
 * waiting, since opening a FIFO waits for its other end.
 *
 * @throws DiskError `ERR_XMC_DISK`; nothing is left open
 */
export async function openDiskFile(
  path: string,
  readOnly: boolean,
  calls: FileCalls,
): Promise<DiskFile> {
  try {
    checkKind(path, await calls.stat(path))
    const access = readOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR
    const flags = access | fs.constants.O_NONBLOCK | fs.constants.O_NOCTTY
    const descriptor = await calls.open(path, flags)
    try {
      checkKind(path, await calls.fstat(descriptor))
      const size = calls.sizeNow(descriptor)
      checkSize(path, size, readOnly)
      return { descriptor, size }
    } catch (error) {
      fs.closeSync(descriptor)
      throw error
    }
  } catch (error) {
    throw error instanceof DiskError ? error : diskError(path, 'opened', error)
  }
}

function checkKind(path: string, stats: fs.Stats): void {
  if (stats.isFile() || stats.isBlockDevice()) return
  if (stats.isDirectory()) {
    throw new DiskError(path, 'directory', 'a directory cannot be a disk: give a file')
  }
  throw new DiskError(path, 'not-a-file', 'only a regular file or a block device can be a disk')
}

function checkSize(path: string, size: number, readOnly: boolean): void {
  if (size === 0)
    throw new DiskError(path, 'empty', 'the file is empty: a disk has at least a byte')
  if (readOnly || size % VIRTIO_BLK_SECTOR_SIZE === 0) return
  throw new DiskError(
    path,
    'unaligned-size',
    `the file has ${size} bytes, ${size % VIRTIO_BLK_SECTOR_SIZE} over a multiple of ` +
      `${VIRTIO_BLK_SECTOR_SIZE}: open it read-only, or change its size`,
  )
}
