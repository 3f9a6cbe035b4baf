import { createHash } from 'node:crypto'
import type { DescriptorChain, DeviceHost, VirtioDevice } from '@xmc/virtio'

/** Answers each request with the SHA-256 of what the driver sent; counts them for all to read. */
export class DigestDevice implements VirtioDevice {
  readonly deviceId: number = 0x3f
  readonly features: bigint = 0n
  readonly queues: VirtioDevice['queues'] = [{ size: 64 }]
  readonly configuration: Uint8Array = new Uint8Array(4) // le32: requests so far
  private host: DeviceHost | undefined

  attach(host: DeviceHost): void {
    this.host = host
  }

  handle(chain: DescriptorChain): number {
    const hash = createHash('sha256')
    // The guest's own pages, one piece after the other; they must not be stored into.
    for (const bytes of chain.readable(0, chain.readableLength)) hash.update(bytes)
    const digest = hash.digest()
    chain.write(digest) // where the driver left less room, the transport stops the device

    const count = new DataView(this.configuration.buffer)
    count.setUint32(0, count.getUint32(0, true) + 1, true)
    this.host?.configurationChanged()
    return digest.length
  }
}
