import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { countOf } from '@xmc/interface'
import { DiskError } from '@xmc/virtio'
import { DataMismatchError } from './errors.ts'

/** Bytes that are read at a time. */
const CHUNK_BYTES = 2 ** 20

/** A path may have become that of a FIFO since it was served, and opening one would wait for its other end. */
const READ_WITHOUT_WAITING = constants.O_RDONLY | constants.O_NONBLOCK

/** How a file is read. */
export interface FileReadOptions {
  /** Ends the reading. */
  readonly signal?: AbortSignal | undefined
  /** Is told how many bytes are read, whenever some more are. */
  readonly onProgress?: ((bytes: number) => void) | undefined
}

/**
 * SHA-256 of the first `bytes` bytes of a file, in hexadecimal, read by `fs` alone: what a guest is
 * compared with.
 *
 * @throws DiskError `ERR_XMC_DISK`, reason `truncated` when the file is shorter, or `io`
 * @throws the reason of the signal
 */
export async function fileSha256(
  path: string,
  bytes: number,
  options: FileReadOptions = {},
): Promise<string> {
  const { signal, onProgress } = options
  const hash = createHash('sha256')
  let length = 0
  try {
    signal?.throwIfAborted()
    const handle = await open(path, READ_WITHOUT_WAITING)
    const stream = handle.createReadStream({
      start: 0,
      end: bytes - 1,
      highWaterMark: CHUNK_BYTES,
      signal,
    })
    for await (const chunk of stream) {
      if (!(chunk instanceof Uint8Array)) continue
      hash.update(chunk)
      length += chunk.length
      onProgress?.(length)
    }
  } catch (cause) {
    signal?.throwIfAborted()
    throw readError(path, cause)
  }
  if (length < bytes) throw truncated(path, length, bytes)
  return hash.digest('hex')
}

/** A file, and how many bytes from its start are wanted. */
export interface FilePart {
  readonly path: string
  readonly bytes: number
}

/** How several files are read. */
export interface FilePartsOptions {
  /** Ends the reading. */
  readonly signal?: AbortSignal | undefined
  /** Is told how many bytes of how many are read, whenever some more are. */
  readonly onProgress?: ((bytes: number, total: number) => void) | undefined
}

/**
 * SHA-256 of each of several files, in hexadecimal, with the progress over all of them.
 *
 * @throws as `fileSha256`
 */
export async function fileDigests(
  parts: readonly FilePart[],
  { signal, onProgress }: FilePartsOptions,
): Promise<readonly string[]> {
  const total = parts.reduce((sum, { bytes }) => sum + bytes, 0)
  const digests: string[] = []
  let before = 0
  for (const { path, bytes } of parts) {
    const start = before
    const digest = await fileSha256(path, bytes, {
      signal,
      onProgress: (done) => onProgress?.(start + done, total),
    })
    digests.push(digest)
    before += bytes
  }
  return digests
}

/** A file, open to be compared with what a guest read of it. */
export class ComparedFile {
  readonly path: string
  readonly #handle: FileHandle
  readonly #chunk: Uint8Array = new Uint8Array(CHUNK_BYTES)

  /** @throws DiskError `ERR_XMC_DISK` */
  static async open(path: string): Promise<ComparedFile> {
    try {
      return new ComparedFile(path, await open(path, READ_WITHOUT_WAITING))
    } catch (cause) {
      throw readError(path, cause)
    }
  }

  private constructor(path: string, handle: FileHandle) {
    this.path = path
    this.#handle = handle
  }

  /**
   * Compares `bytes`, up to 1 MiB, with the file from `position` on.
   *
   * @throws DataMismatchError `ERR_XMC_DATA_MISMATCH`, DiskError `ERR_XMC_DISK`
   */
  async compare(position: number, bytes: Uint8Array): Promise<void> {
    const own = this.#chunk.subarray(0, bytes.length)
    for (let done = 0; done < own.length; ) {
      const { bytesRead } = await this.#handle
        .read(own, done, own.length - done, position + done)
        .catch((cause: unknown) => {
          throw readError(this.path, cause)
        })
      if (bytesRead === 0) throw truncated(this.path, position + done, position + own.length)
      done += bytesRead
    }
    if (Buffer.compare(own, bytes) === 0) return
    const first = own.findIndex((byte, index) => byte !== bytes[index])
    throw new DataMismatchError(this.path, position + first)
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}

function truncated(path: string, length: number, bytes: number): DiskError {
  const detail = `the file ends at ${length} and had ${countOf(bytes, 'byte')} when it was opened`
  return new DiskError(path, 'truncated', detail)
}

function readError(path: string, cause: unknown): DiskError {
  const message = cause instanceof Error ? cause.message : String(cause)
  return new DiskError(path, 'io', `the file cannot be read by itself (${message})`, { cause })
}
