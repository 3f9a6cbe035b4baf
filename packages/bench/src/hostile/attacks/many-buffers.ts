import type { Addressing } from '@xmc/arm-virt'
import { BlockDevice, MemoryDisk } from '@xmc/virtio'
import type { Attack, Attacker } from '../attack.ts'
import { RequestEnds } from '../block-requests.ts'
import { HostileGuest, RAM } from '../hostile-guest.ts'
import type { Buffer } from '../hostile-queue.ts'

const MIB = 2 ** 20

/** Elements of the queue, all of which are one chain, and all of whose requests are that chain. */
const QUEUE_SIZE = 256
const BUFFERS = QUEUE_SIZE - 3

/** Where data lies. */
const DATA = RAM + 0x40_0000

/** More bytes than a bounce buffer is worth: the buffer is mapped. */
const MAPPED_BYTES = 65

/** Time of one notification, where no buffer can be mapped. */
export const badBuffers: Attack = attack(
  '2 bad buffers',
  '256 requests of 253 buffers that are nowhere, in one notification',
  (guest) =>
    Array.from({ length: BUFFERS }, (_, nth) => ({
      address: guest.nowhere(nth),
      length: MAPPED_BYTES,
    })),
)

/** Time of one notification, where every buffer can be mapped. */
export const goodBuffers: Attack = attack(
  '2 good buffers',
  '256 requests of 253 buffers on pages of their own, in one notification',
  (guest) =>
    Array.from({ length: BUFFERS }, (_, nth) => ({
      address: guest.share(DATA + nth * 4096, 1),
      length: nth < BUFFERS - 1 ? 64 : 512,
    })),
)

/** Explanations, where much is mapped when they are asked for. */
export const badAfterLarge: Attack = attack(
  '3 bad after large',
  'a good buffer of 30 MiB, then 252 that are nowhere, in each of 256 requests',
  (guest) => [
    { address: guest.share(DATA, 7680), length: 7680 * 4096 },
    ...Array.from({ length: BUFFERS - 1 }, (_, nth) => ({
      address: guest.nowhere(nth),
      length: MAPPED_BYTES,
    })),
  ],
)

/** Explanations of buffers whose last page alone is bad. */
export const badLastPage: Attack = attack(
  '3 bad last page',
  '253 buffers of 1 MiB whose last page is nowhere, in each of 256 requests',
  (guest, memoryBytes) => {
    const first = guest.addressing === 'foreign' ? RAM + memoryBytes - 255 * 4096 : DATA
    const address = guest.share(first, 255)
    return Array.from({ length: BUFFERS }, () => ({ address, length: MIB }))
  },
)

/** Waiters: many ask for the same page, which nobody gets. */
export const waiters: Attack = attack(
  '4 waiters',
  'asynchronous mapping: 24 requests of 253 buffers at one page that is nowhere',
  (guest) =>
    Array.from({ length: BUFFERS }, () => ({ address: guest.nowhere(0), length: MAPPED_BYTES })),
  { mapping: 'asynchronous', requests: 24 },
)

/** An attack by one chain that is offered many times at once, again as soon as it was answered. */
function attack(
  id: string,
  title: string,
  data: (guest: HostileGuest, memoryBytes: number) => readonly Omit<Buffer, 'write'>[],
  options: { readonly mapping?: 'asynchronous'; readonly requests?: number } = {},
): Attack {
  const { mapping, requests = QUEUE_SIZE } = options
  const heads = Array.from({ length: requests }, () => 0)
  return {
    id,
    title,
    async prepare(addressing: Addressing): Promise<Attacker> {
      const memoryBytes = 128 * MIB
      const devices = [new BlockDevice({ disk: new MemoryDisk(64 * MIB) })]
      const guest = HostileGuest.open({ addressing, devices, mapping, memoryBytes })
      await guest.negotiate(0)
      const queue = await guest.queue({ slot: 0, at: RAM, size: QUEUE_SIZE })
      queue.chain(0, new RequestEnds(guest).read(data(guest, memoryBytes)))
      await guest.start(0)
      return {
        async step() {
          if (queue.outstanding > 0) return
          queue.offer(heads)
          await queue.notify()
        },
        close: () => guest.close(),
      }
    },
  }
}
