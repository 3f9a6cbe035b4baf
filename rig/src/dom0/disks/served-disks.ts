import { deepEqual } from 'node:assert/strict'
import { Board, type BoardOptions, XenHypervisor } from '@xmc/arm-virt'
import { MAX_GRANT_FRAMES } from '@xmc/memory-region'
import { BlockDevice, FileDisk, TurnBudget } from '@xmc/virtio'
import { DiskImage } from './disk-image.ts'

/** Where the two images are. */
const PATHS = ['/tmp/first.img', '/tmp/second.img']

/** Slot of the disk whose driver grants its memory, and of the one whose driver gives plain addresses. */
export const SLOTS = { grants: 0, foreign: 1 } as const

/** How disks are served. */
export interface ServingOptions {
  /** Most requests that a disk works on at a time; as many as its queue is long by default. */
  readonly inFlight?: number | undefined
  /** Bytes of foreign memory that may stay mapped when nobody uses it. */
  readonly foreignBudgetBytes?: BoardOptions['foreignBudgetBytes']
}

/** Two disks that this process serves to a guest of the rig, as `arm-virt serve --xen --foreign` does. */
export class ServedDisks {
  readonly images: readonly DiskImage[]
  readonly board: Board
  readonly hypervisor: XenHypervisor
  /** What the board has reported. */
  readonly faults: Error[]
  readonly #disks: readonly FileDisk[]

  private constructor(parts: {
    readonly images: readonly DiskImage[]
    readonly board: Board
    readonly hypervisor: XenHypervisor
    readonly faults: Error[]
    readonly disks: readonly FileDisk[]
  }) {
    this.images = parts.images
    this.board = parts.board
    this.hypervisor = parts.hypervisor
    this.faults = parts.faults
    this.#disks = parts.disks
  }

  /** Makes two images with empty file systems and serves them to a domain. */
  static async open(domain: number, options: ServingOptions = {}): Promise<ServedDisks> {
    const images = await makeImages()
    const disks: FileDisk[] = []
    for (const { path } of images) disks.push(await FileDisk.open(path))
    const hypervisor = XenHypervisor.attach(domain)
    const faults: Error[] = []
    const { inFlight, foreignBudgetBytes } = options
    const board = Board.open(hypervisor, {
      devices: disks.map((disk) => new BlockDevice({ disk, inFlight })),
      // A driver may grant its memory or not, as its place in the device tree says.
      addressing: 'foreign',
      grantFrames: MAX_GRANT_FRAMES,
      foreignBudgetBytes,
      // The millisecond of a turn is over after a few requests where the processor is emulated, so that few are in flight.
      turnBudget: new TurnBudget({ turnMicroseconds: 1e6 }),
      onFault: ({ error }) => void faults.push(error),
    })
    return new ServedDisks({ images, board, hypervisor, faults, disks })
  }

  /** Ends the serving. @throws AssertionError when anything of the guest is left */
  async close(): Promise<void> {
    await this.board.close()
    const { usage } = this.hypervisor
    const leftovers = this.hypervisor.leftovers()
    this.hypervisor.close()
    for (const disk of this.#disks) await disk.close()
    deepEqual(
      { leftovers, mappedPages: usage.mappedPages, pinnedGrants: usage.pinnedGrants },
      { leftovers: [], mappedPages: 0, pinnedGrants: 0 },
    )
  }
}

/** Two images with empty file systems, the first for {@link SLOTS.grants}. */
export async function makeImages(): Promise<readonly DiskImage[]> {
  const images: DiskImage[] = []
  for (const path of PATHS) images.push(await DiskImage.make(path))
  return images
}
