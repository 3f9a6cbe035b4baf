import {
  type HostWindow,
  InvalidArgumentError,
  ReadOnlyError,
  ReleasedError,
  type WindowPage,
} from '@xmc/interface'

/** What a handle needs of the cache it comes from. */
export interface MappingCache<Page extends number> {
  readonly name: string
  readonly view: DataView
  readonly closed: boolean
  readonly backend: { readonly window: HostWindow }
  unlock(windowPage: WindowPage, offset: number): void
  unlockAsync(windowPage: WindowPage, offset: number): Promise<void>
  pageOf(windowPage: WindowPage): Page
  forget(handle: Mapping<Page>, leakId: number): void
}

/**
 * A locked mapping: a range of guest memory that stays in place until `release`.
 *
 * Accessors check bounds, write access and release; offsets count from the start of the mapping.
 * A handle that is lost keeps its memory mapped; `leakTracking` finds it.
 */
export class Mapping<Page extends number = number> {
  /** The cache it belongs to. */
  readonly cache: MappingCache<Page>
  /** Bytes. */
  readonly length: number
  /** Whether stores are allowed. */
  readonly writable: boolean
  /** @internal */
  leakId = 0

  private readonly windowPage: WindowPage
  private readonly offset: number
  private readonly start: number
  private live = true

  /** @internal */
  constructor(
    cache: MappingCache<Page>,
    windowPage: WindowPage,
    offset: number,
    length: number,
    writable: boolean,
  ) {
    this.cache = cache
    this.windowPage = windowPage
    this.offset = offset
    this.length = length
    this.writable = writable
    this.start = windowPage * 4096 + offset
  }

  /** True after `release`, or after the cache was closed. */
  get released(): boolean {
    return !this.live || this.cache.closed
  }

  /** First guest page: a frame or a grant reference. Follows a replacement. */
  get page(): Page {
    return this.cache.pageOf(this.pointer().windowPage)
  }

  /** Guest address of the first byte: page × 4096 + offset. Follows a replacement. */
  get address(): bigint {
    return (BigInt(this.page) << 12n) | BigInt(this.offset)
  }

  /**
   * The bytes themselves. The view outlives the release, and then shows zeros or other memory: do
   * not keep it.
   *
   * @throws ReadOnlyError `ERR_XMC_READ_ONLY` unless mapped for write, since a store through a view of
   * read-only pages ends the process; see `unsafeBytes` and `copy`
   */
  get bytes(): Uint8Array {
    if (!this.writable) throw new ReadOnlyError(`${this.cache.name}: the mapping`)
    return this.unsafeBytes
  }

  /** As `bytes`, of a read-only mapping too: the caller must not store into it, or the process dies. */
  get unsafeBytes(): Uint8Array {
    this.assertLive()
    const { buffer, byteOffset } = this.cache.view
    return new Uint8Array(buffer, byteOffset + this.start, this.length)
  }

  /** Unsigned byte at `offset`. */
  readUint8(offset: number): number {
    return this.cache.view.getUint8(this.at(offset, 1))
  }

  /** Unsigned 2 bytes at `offset`, little-endian by default. */
  readUint16(offset: number, littleEndian: boolean = true): number {
    return this.cache.view.getUint16(this.at(offset, 2), littleEndian)
  }

  /** Unsigned 4 bytes at `offset`, little-endian by default. */
  readUint32(offset: number, littleEndian: boolean = true): number {
    return this.cache.view.getUint32(this.at(offset, 4), littleEndian)
  }

  /** Unsigned 8 bytes at `offset`, little-endian by default. */
  readBigUint64(offset: number, littleEndian: boolean = true): bigint {
    return this.cache.view.getBigUint64(this.at(offset, 8), littleEndian)
  }

  /** Stores the low byte of `value` at `offset`. */
  writeUint8(offset: number, value: number): void {
    this.cache.view.setUint8(this.atForWrite(offset, 1), value)
  }

  /** Stores the low 2 bytes of `value` at `offset`, little-endian by default. */
  writeUint16(offset: number, value: number, littleEndian: boolean = true): void {
    this.cache.view.setUint16(this.atForWrite(offset, 2), value, littleEndian)
  }

  /** Stores the low 4 bytes of `value` at `offset`, little-endian by default. */
  writeUint32(offset: number, value: number, littleEndian: boolean = true): void {
    this.cache.view.setUint32(this.atForWrite(offset, 4), value, littleEndian)
  }

  /** Stores the low 8 bytes of `value` at `offset`, little-endian by default. */
  writeBigUint64(offset: number, value: bigint, littleEndian: boolean = true): void {
    this.cache.view.setBigUint64(this.atForWrite(offset, 8), value, littleEndian)
  }

  /** Copies `target.length` bytes from `offset` on into `target`. */
  read(offset: number, target: Uint8Array): void {
    target.set(this.slice(this.at(offset, target.length), target.length))
  }

  /** Copies `source` into the mapping from `offset` on. */
  write(offset: number, source: Uint8Array): void {
    this.slice(this.atForWrite(offset, source.length), source.length).set(source)
  }

  /** A copy of all bytes, which outlives the mapping. */
  copy(): Uint8Array {
    return this.unsafeBytes.slice()
  }

  /** Window page and offset of the first byte, for the page surface. */
  pointer(): { windowPage: WindowPage; offset: number } {
    this.assertLive()
    return { windowPage: this.windowPage, offset: this.offset }
  }

  /**
   * Releases the mapping.
   *
   * @throws ReleasedError `ERR_XMC_RELEASED` when it was released before
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`: released, but something may still be mapped
   */
  release(): void {
    this.end()
    this.cache.unlock(this.windowPage, this.offset)
  }

  /** Releases the mapping; resolves when it is gone, if this was its last lock. */
  async releaseAsync(): Promise<void> {
    this.end()
    await this.cache.unlockAsync(this.windowPage, this.offset)
  }

  /** Releases the mapping unless it was released before. */
  [Symbol.dispose](): void {
    if (!this.released) this.release()
  }

  private end(): void {
    this.assertLive()
    this.live = false
    if (this.leakId !== 0) this.cache.forget(this, this.leakId)
  }

  private assertLive(): void {
    if (this.released) throw new ReleasedError(`${this.cache.name}: the mapping`)
  }

  private at(offset: number, size: number): number {
    if (!this.live || this.cache.closed) this.assertLive()
    if (!(offset >= 0 && offset + size <= this.length && Number.isInteger(offset))) {
      const expected = `an integer from 0 to ${this.length - size}, ${size} bytes before the end`
      throw new InvalidArgumentError('offset', expected, offset)
    }
    return this.start + offset
  }

  private atForWrite(offset: number, size: number): number {
    if (!this.writable) throw new ReadOnlyError(`${this.cache.name}: the mapping`)
    return this.at(offset, size)
  }

  private slice(start: number, length: number): Uint8Array {
    const { buffer, byteOffset } = this.cache.view
    return new Uint8Array(buffer, byteOffset + start, length)
  }
}
