import type { WindowPage } from '@xmc/interface'

/**
 * What a cache does with integers alone: a hit allocates nothing. A page is
 * whatever the backend maps: a guest frame, or a grant reference. None of them needs its `this`.
 */
export interface PageOperations<Page extends number> {
  /**
   * Maps `length` bytes from `offset` in `page` and locks them: the mapping stays in place until the
   * matching `unlock`. Returns the window page of the first byte; the offset in it is `offset`, and the
   * pages of the range follow contiguously. Length 0 asks for the page alone.
   *
   * `flags` is 0 or {@link LOCK_WRITE}, with {@link LOCK_DMA} and a user's `lockFlags` if wanted.
   *
   * @throws PagesMissingError `ERR_XMC_PAGES_MISSING`: the guest has no memory there
   * @throws PagedOutError `ERR_XMC_PAGED_OUT`: use `lockAsync`
   * @throws LockLimitError `ERR_XMC_LOCK_LIMIT`; WindowFullError `ERR_XMC_WINDOW_FULL`
   * @throws XmcError of the backend when it could map nothing
   */
  lock(this: void, page: Page, offset: number, length: number, flags: number): WindowPage

  /**
   * Takes back one lock, given exactly the window page and offset of a `lock`. With the last lock of
   * a mapping it is unmapped, or kept, as the cache's retention says.
   *
   * @throws NotLockedError `ERR_XMC_NOT_LOCKED`: unknown, or released already; nothing is changed
   * @throws UnmapFailedError `ERR_XMC_UNMAP_FAILED`: the lock is gone, the place is not used again
   */
  unlock(this: void, windowPage: WindowPage, offset: number): void

  /**
   * The guest page behind a window page of a locked mapping: its first page or any other.
   *
   * @throws NotLockedError `ERR_XMC_NOT_LOCKED`: nothing is locked there
   */
  pageOf(this: void, windowPage: WindowPage): Page

  /** Reads an unsigned byte of guest memory, without a lock. Pages are mapped or copied as needed. */
  loadUint8(this: void, page: Page, offset: number): number

  /** Reads 2 bytes as an unsigned integer, little-endian by default; may cross pages. */
  loadUint16(this: void, page: Page, offset: number, littleEndian?: boolean): number

  /** Reads 4 bytes as an unsigned integer, little-endian by default; may cross pages. */
  loadUint32(this: void, page: Page, offset: number, littleEndian?: boolean): number

  /** Reads 8 bytes as an unsigned bigint, little-endian by default; may cross pages. */
  loadBigUint64(this: void, page: Page, offset: number, littleEndian?: boolean): bigint

  /** Writes the low byte of `value` to guest memory, without a lock. */
  storeUint8(this: void, page: Page, offset: number, value: number): void

  /** Writes the low 2 bytes of `value`, little-endian by default; may cross pages. */
  storeUint16(this: void, page: Page, offset: number, value: number, littleEndian?: boolean): void

  /** Writes the low 4 bytes of `value`, little-endian by default; may cross pages. */
  storeUint32(this: void, page: Page, offset: number, value: number, littleEndian?: boolean): void

  /** Writes the low 8 bytes of `value`, little-endian by default; may cross pages. */
  storeBigUint64(
    this: void,
    page: Page,
    offset: number,
    value: bigint,
    littleEndian?: boolean,
  ): void
}
