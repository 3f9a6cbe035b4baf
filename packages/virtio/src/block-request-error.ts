import { type ErrorText, XmcError } from '@xmc/interface'
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_UNSUPP } from './block-protocol.ts'
import { textOf } from './internal/error-parts.ts'

/**
 * Why a request did not succeed.
 *
 * | reason | condition | status |
 * |---|---|---|
 * | `header` | the header is short | IOERR |
 * | `length` | the data is no multiple of 512 bytes, or of a segment | IOERR |
 * | `range` | sectors behind the end of the disk | IOERR |
 * | `read-only` | a write to a read-only disk | IOERR |
 * | `segments` | too many segments, or too large ones | IOERR |
 * | `buffer` | the guest's memory cannot be mapped | IOERR |
 * | `disk` | the disk failed | IOERR |
 * | `unsupported` | no such request, or an unknown flag | UNSUPP |
 */
export type BlockRequestReason =
  | 'header'
  | 'length'
  | 'range'
  | 'read-only'
  | 'segments'
  | 'buffer'
  | 'disk'
  | 'unsupported'

/** `ERR_XMC_BLOCK_REQUEST`: a request of a guest was answered with something else than OK. */
export class BlockRequestError extends XmcError {
  /** Which condition. */
  readonly reason: BlockRequestReason
  /** What the guest was told: `VIRTIO_BLK_S_*`. */
  readonly status: number

  constructor(reason: BlockRequestReason, detail: ErrorText, options?: ErrorOptions) {
    super('ERR_XMC_BLOCK_REQUEST', () => `block request: ${textOf(detail)}`, options)
    this.reason = reason
    this.status = reason === 'unsupported' ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR
  }
}
