import {
  type DomainId,
  type GrantReference,
  type GuestFrame,
  grantReference,
  guestFrame,
  InvalidArgumentError,
  PAGE_SIZE,
  XEN_GRANT_ADDRESS_OFFSET,
  XmcError,
} from '@xmc/interface'

export * from './guest-grant-table.ts'

/** Which way a device moves data; it decides about write access. */
export type DmaDirection = 'to-device' | 'from-device' | 'bidirectional'

/** What the DMA layer needs of the guest's grant table. Met by `GuestGrantTable`. */
export interface DmaGrants {
  /** Takes the lowest run of consecutive free references; undefined when there is none. */
  allocate(count: number): GrantReference | undefined
  /** Gives a run of references back. */
  free(first: GrantReference, count: number): void
  /** Lets `grantee` use a frame by a reference. */
  grant(
    reference: GrantReference,
    grant: {
      readonly grantee: DomainId
      readonly frame: GuestFrame
      readonly readOnly: boolean
    },
  ): void
  /** Takes a grant back; false while the page is still mapped. */
  end(reference: GrantReference): boolean
}

/** A buffer for a device. */
export interface DmaBuffer {
  /** First page of the guest's buffer; the others follow. */
  readonly frame: GuestFrame
  /** Where the buffer starts, in bytes from the first page; may be more than a page. */
  readonly offset: number
  /** Bytes, at least 1. */
  readonly length: number
  readonly direction: DmaDirection
}

/** A buffer that is granted now, for accounting. */
export interface LiveDmaMapping {
  readonly address: bigint
  readonly first: GrantReference
  readonly count: number
}

/**
 * `ERR_XMC_GRANT_DMA_BROKEN`: the backend still held a grant when the guest took it back. The device is
 * unusable for ever; the references and pages of that buffer are leaked on purpose, since the
 * backend may still write to them.
 */
export class GrantDmaBrokenError extends XmcError {
  /** The first reference that was found in use. */
  readonly reference: GrantReference

  constructor(reference: GrantReference) {
    super(
      'ERR_XMC_GRANT_DMA_BROKEN',
      `grant ${reference} was still in use by the backend when the guest ended it: the device is disabled; the backend must unmap before it completes a request`,
    )
    this.reference = reference
  }
}

/** `ERR_XMC_NO_GRANT_REFERENCES`: the guest's table has no run of free references of that length. */
export class NoGrantReferencesError extends XmcError {
  /** References in one run that were needed. */
  readonly count: number

  constructor(count: number) {
    super(
      'ERR_XMC_NO_GRANT_REFERENCES',
      `no ${count} consecutive grant references are free: unmap buffers or let the table be larger`,
    )
    this.count = count
  }
}

/**
 * How a Linux guest gives buffers to one virtio device whose backend must use grants: a double of
 * its `grant-dma-ops`, for tests and guest drivers.
 *
 * A DMA address is `1 << 63 | reference << 12 | offset in the page`; page `i` of a buffer has reference
 * `reference + i`. Each buffer takes references of its own, so one page can be granted several times.
 */
export class GrantDma {
  readonly #grants: DmaGrants
  readonly #backend: DomainId
  readonly #live = new Map<bigint, LiveDmaMapping>()
  #brokenBy: GrantReference | undefined

  constructor(grants: DmaGrants, backend: DomainId) {
    this.#grants = grants
    this.#backend = backend
  }

  /** True once a grant was still in use at unmap; every call throws from then on. */
  get broken(): boolean {
    return this.#brokenBy !== undefined
  }

  /** The buffers granted now, those that a broken device has leaked included. */
  get live(): LiveDmaMapping[] {
    return [...this.#live.values()]
  }

  /**
   * Grants a buffer for one transfer and returns its DMA address. Read-only if and only if the
   * direction is `to-device`.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for a negative offset, a length below 1, or a
   * frame of more than 32 bits
   * @throws NoGrantReferencesError `ERR_XMC_NO_GRANT_REFERENCES`
   * @throws GrantDmaBrokenError `ERR_XMC_GRANT_DMA_BROKEN`
   */
  mapPages({ frame, offset, length, direction }: DmaBuffer): bigint {
    this.#requireUsable()
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new InvalidArgumentError('offset', 'an integer from 0', offset)
    }
    if (!Number.isSafeInteger(length) || length < 1) {
      throw new InvalidArgumentError('length', 'an integer from 1', length)
    }
    const offsetInPage = offset % PAGE_SIZE
    const first = frame + Math.floor(offset / PAGE_SIZE)
    const count = Math.ceil((offsetInPage + length) / PAGE_SIZE)
    return this.#grant(first, count, offsetInPage, direction === 'to-device')
  }

  /**
   * Grants whole pages for as long as the driver runs, such as a ring's, readable and writable, and
   * returns their DMA address. The pages are the caller's: `count` of them from `frame` on.
   *
   * @throws as {@link GrantDma.mapPages}
   */
  allocateCoherent(frame: GuestFrame, count: number): bigint {
    this.#requireUsable()
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new InvalidArgumentError('count', 'an integer from 1', count)
    }
    return this.#grant(frame, count, 0, false)
  }

  /**
   * Takes a buffer back, given the address that it was granted with. False when the backend still
   * holds a page of it: the device is broken then, and what is left of the buffer stays granted.
   *
   * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an address that is not one of a granted buffer
   * @throws GrantDmaBrokenError `ERR_XMC_GRANT_DMA_BROKEN` when the device was broken before
   */
  unmap(address: bigint): boolean {
    this.#requireUsable()
    const mapping = this.#live.get(address)
    if (!mapping) {
      throw new InvalidArgumentError('address', 'the address of a granted buffer', address)
    }
    for (let i = 0; i < mapping.count; i++) {
      const reference = grantReference(mapping.first + i)
      if (!this.#grants.end(reference)) {
        this.#brokenBy = reference
        return false
      }
    }
    this.#grants.free(mapping.first, mapping.count)
    this.#live.delete(address)
    return true
  }

  #grant(frame: number, count: number, offset: number, readOnly: boolean): bigint {
    if (frame + count > 2 ** 32) {
      throw new InvalidArgumentError('frame', 'frames below 2^32 (grant table version 1)', frame)
    }
    const first = this.#grants.allocate(count)
    if (first === undefined) throw new NoGrantReferencesError(count)
    for (let i = 0; i < count; i++) {
      this.#grants.grant(grantReference(first + i), {
        grantee: this.#backend,
        frame: guestFrame(frame + i),
        readOnly,
      })
    }
    const address = XEN_GRANT_ADDRESS_OFFSET | (BigInt(first) << 12n) | BigInt(offset)
    this.#live.set(address, { address, first, count })
    return address
  }

  #requireUsable(): void {
    if (this.#brokenBy !== undefined) throw new GrantDmaBrokenError(this.#brokenBy)
  }
}
