import { type Disk, DiskError } from '../disk.ts'
import { isUnsupported, losesNothing, lostWrites } from './disk-errors.ts'
import { writeZeros } from './zeros.ts'

/**
 * A disk as a block device serves it, whatever kind it is: a flush that failed is remembered, and what is
 * optional has a fallback.
 */
export class ServedDisk {
  readonly #disk: Disk
  /** Why no flush succeeds any more. */
  #lost: DiskError | undefined

  constructor(disk: Disk) {
    this.#disk = disk
  }

  /** @throws what the disk does; after that, DiskError `ERR_XMC_DISK`, reason `lost-writes` */
  async flush(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost
    try {
      await this.#disk.flush()
    } catch (error) {
      if (!losesNothing(error)) this.#lost ??= lostWrites(this.#disk.identity, error)
      throw error
    }
    // Another flush may have been told meanwhile that writes are lost, in the place of this one.
    if (this.#lost !== undefined) throw this.#lost
  }

  /** A hint (5.2.6.2): a disk that cannot has nothing to do. */
  async discard(position: number, length: number): Promise<void> {
    try {
      await this.#disk.discard?.(position, length)
    } catch (error) {
      if (!saysUnsupported(error)) throw error
    }
  }

  async writeZeroes(position: number, length: number, mayUnmap: boolean): Promise<void> {
    try {
      await this.#disk.writeZeroes?.(position, length, mayUnmap)
    } catch (error) {
      if (!saysUnsupported(error)) throw error
      await writeZeros((zeros, at) => this.#disk.write(zeros, at), position, length)
    }
  }
}

function saysUnsupported(error: unknown): boolean {
  return isUnsupported(error) || (error instanceof DiskError && isUnsupported(error.cause))
}
