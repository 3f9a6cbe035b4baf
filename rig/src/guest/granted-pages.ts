import koffi from 'koffi'

const pageBytes = 4096

const library = koffi.load('libxengnttab.so.1')
const openSharing = library.func('void *xengntshr_open(void *logger, unsigned int flags)')
const sharePages = library.func(
  'void *xengntshr_share_pages(void *handle, uint32_t domain, int count, _Out_ uint32_t *references, int writable)',
)
const unsharePages = library.func(
  'int xengntshr_unshare(void *handle, void *start, uint32_t count)',
)

/** Pages of this domain that it has granted to another, through Xen's own library. */
export class GrantedPages {
  readonly references: readonly number[]
  readonly bytes: Uint8Array
  readonly #handle: unknown
  readonly #start: unknown

  /**
   * Grants fresh pages of zeros.
   *
   * @param handle of {@link openGranting}
   * @throws Error with the name of the errno when the kernel refuses
   */
  constructor(handle: unknown, count: number, to: number, writable: boolean) {
    const references = new Uint32Array(count)
    const start: unknown = sharePages(handle, to, count, references, writable ? 1 : 0)
    if (isNull(start)) throw new Error(`granting ${count} pages to domain ${to} failed: ${errno()}`)
    this.#handle = handle
    this.#start = start
    this.references = [...references]
    this.bytes = new Uint8Array(koffi.view(start, count * pageBytes))
  }

  /** Bytes of a page from `offset` on. */
  part(page: number, offset: number, length: number): Uint8Array {
    return this.bytes.subarray(page * pageBytes + offset, page * pageBytes + offset + length)
  }

  /** Ends the grants. The bytes must not be touched any more. */
  revoke(): void {
    const code: unknown = unsharePages(this.#handle, this.#start, this.references.length)
    if (code !== 0) throw new Error(`ending ${this.references.length} grants failed: ${errno()}`)
  }
}

/** Opens the device that grants pages. */
export function openGranting(): unknown {
  const handle: unknown = openSharing(null, 0)
  if (isNull(handle)) throw new Error(`gntalloc could not be opened: ${errno()}`)
  return handle
}

function isNull(pointer: unknown): boolean {
  return pointer === null || pointer === undefined || pointer === 0n
}

function errno(): string {
  const number = koffi.errno()
  const names = Object.entries(koffi.os.errno)
  return names.find(([, value]) => value === number)?.[0] ?? String(number)
}
