import { VIRTIO_BLK_HEADER_SIZE, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '@xmc/virtio'
import { type HostileGuest, RAM } from './hostile-guest.ts'
import type { Buffer } from './hostile-queue.ts'

/** Where two headers and a status byte are, unless said otherwise. */
const CONTROL = RAM + 0x20_0000

/** The ends of a block request of a hostile guest: headers for sector 0, and a place for the status. */
export class RequestEnds {
  readonly #address: bigint

  /** @param at guest address of a page for them */
  constructor(guest: HostileGuest, at: number = CONTROL) {
    const { memory } = guest
    memory.writeUint32(at, VIRTIO_BLK_T_IN)
    memory.writeUint32(at + 64, VIRTIO_BLK_T_OUT)
    this.#address = guest.share(at, 1)
  }

  /** A read, with its data in `buffers`. */
  read(buffers: readonly Omit<Buffer, 'write'>[]): Buffer[] {
    const data = buffers.map((buffer) => ({ ...buffer, write: true }))
    return [{ address: this.#address, length: VIRTIO_BLK_HEADER_SIZE }, ...data, this.#status]
  }

  /** A write, with its data in `buffers`. */
  write(buffers: readonly Omit<Buffer, 'write'>[]): Buffer[] {
    const header = { address: this.#address + 64n, length: VIRTIO_BLK_HEADER_SIZE }
    return [header, ...buffers, this.#status]
  }

  get #status(): Buffer {
    return { address: this.#address + 128n, length: 1, write: true }
  }
}
