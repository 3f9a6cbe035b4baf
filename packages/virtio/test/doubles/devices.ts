import type {
  DescriptorChain,
  DeviceHost,
  QueueDeclaration,
  VirtioDevice,
} from '../../src/index.ts'

/** Writes the device-readable bytes of each request back, as many as fit. */
export class EchoDevice implements VirtioDevice {
  readonly deviceId: number = 42
  readonly features: bigint = 0n
  readonly queues: readonly QueueDeclaration[]
  readonly configuration: Uint8Array = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9)
  /** Calls, in order. */
  readonly calls: string[] = []
  host: DeviceHost | undefined

  constructor(queues: readonly QueueDeclaration[] = [{ size: 64 }, { size: 16 }]) {
    this.queues = queues
  }

  attach(host: DeviceHost): void {
    this.host = host
    this.calls.push('attach')
  }

  start(features: bigint): void {
    this.calls.push(`start 0x${features.toString(16)}`)
  }

  stop(): void {
    this.calls.push('stop')
  }

  handle(chain: DescriptorChain): number | Promise<number> {
    const bytes = chain.read(0, Math.min(chain.readableLength, chain.writableLength))
    chain.write(bytes)
    return bytes.length
  }
}

/** Keeps every request until the test settles it. */
export class HoldingDevice extends EchoDevice {
  readonly held: {
    readonly chain: DescriptorChain
    readonly resolve: (written: number) => void
    readonly reject: (error: unknown) => void
  }[] = []

  override handle(chain: DescriptorChain): Promise<number> {
    return new Promise((resolve, reject) => {
      this.held.push({ chain, resolve, reject })
    })
  }
}
