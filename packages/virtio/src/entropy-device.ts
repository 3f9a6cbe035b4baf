import { randomFill } from 'node:crypto'
import type { DescriptorChain } from './descriptor-chain.ts'
import type { QueueDeclaration, VirtioDevice } from './device.ts'
import { VIRTIO_ID_ENTROPY } from './registers.ts'

/**
 * An entropy device (virtio 1.2, 5.4): fills the guest's buffers with random bytes of the host's
 * cryptographic generator, up to 64 KiB of each request.
 */
export class EntropyDevice implements VirtioDevice {
  readonly deviceId: number = VIRTIO_ID_ENTROPY
  readonly features: bigint = 0n
  readonly queues: readonly QueueDeclaration[] = [{ size: 64, inFlight: 8 }]
  readonly configuration: Uint8Array = new Uint8Array(0)

  async handle(chain: DescriptorChain): Promise<number> {
    const length = Math.min(chain.writableLength, 65_536)
    await Promise.all(chain.writable(0, length).map(fill))
    return length
  }
}

function fill(buffer: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    randomFill(buffer, (error) => {
      if (error === null) resolve()
      else reject(error)
    })
  })
}
