import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import type { DescriptorChain } from './descriptor-chain.ts'
import type { QueueDeclaration, VirtioDevice } from './device.ts'
import { VIRTIO_ID_ENTROPY } from './registers.ts'

/** Most random bytes of a request. */
const REQUEST_BYTES = 65_536

/**
 * An entropy device (virtio 1.2, 5.4): fills the guest's buffers with random bytes of the host's
 * cryptographic generator, up to 64 KiB of each request, one request at a time.
 */
export class EntropyDevice implements VirtioDevice {
  readonly deviceId: number = VIRTIO_ID_ENTROPY
  readonly features: bigint = 0n
  // A request is a job of the process's thread pool, which disks and other guests share.
  readonly queues: readonly QueueDeclaration[] = [{ size: 64, inFlight: 1 }]
  readonly configuration: Uint8Array = new Uint8Array(0)

  async handle(chain: DescriptorChain): Promise<number> {
    const length = Math.min(chain.writableLength, REQUEST_BYTES)
    // Not straight into the guest's buffers: each would be a job, and another thread would store there while
    // this one reads what the guest has put beside.
    const bytes = await randomBytesLater(length)
    chain.write(bytes)
    return length
  }
}

const randomBytesLater: (length: number) => Promise<Uint8Array> = promisify(randomBytes)
