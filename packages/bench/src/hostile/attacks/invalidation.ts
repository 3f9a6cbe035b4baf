import { BlockDevice } from '@xmc/virtio'
import type { Attack } from '../attack.ts'
import { RequestEnds } from '../block-requests.ts'
import { HostileGuest, RAM } from '../hostile-guest.ts'
import { SlowDisk } from '../slow-disk.ts'

const REQUESTS = 250
const BUFFERS = 252
const MIB = 2 ** 20

/** Offsets of a page at which locks are taken. */
const OFFSETS = 3900

/** Pages that are granted for that, and one more for each request. */
const DATA = RAM + 0x40_0000
const DATA_PAGES = Math.ceil((REQUESTS * BUFFERS) / OFFSETS)

/** Invalidation: as many locks as there can be, and a guest that gives pages back all the time. */
export const invalidation: Attack = {
  id: '7 invalidation',
  title:
    '63,000 locks at offsets of their own in 250 buckets, and one invalidation after the other',
  async prepare(addressing) {
    const disk = new SlowDisk(Number.POSITIVE_INFINITY)
    const devices = [new BlockDevice({ disk })]
    const guest = HostileGuest.open({ addressing, devices, memoryBytes: 600 * MIB })
    await guest.negotiate(0)
    const queue = await guest.queue({ slot: 0, at: RAM })
    const ends = new RequestEnds(guest)
    const data = guest.share(DATA, DATA_PAGES)
    for (let request = 0; request < REQUESTS; request++) {
      const buffers = Array.from({ length: BUFFERS }, (_, nth) => {
        const lock = request * BUFFERS + nth
        const offset = Math.floor(lock / OFFSETS) * 4096 + (lock % OFFSETS)
        return { address: data + BigInt(offset), length: 64 }
      })
      const own = guest.share(RAM + 64 * MIB + request * 2 * MIB, 1)
      buffers.push({ address: own, length: 512 - ((BUFFERS * 64) % 512) })
      queue.indirect(request, RAM + 0x100_0000 + request * 8192, ends.read(buffers))
    }
    await guest.start(0)
    queue.offer(Array.from({ length: REQUESTS }, (_, request) => request))
    await queue.notify()
    return {
      step: () => guest.hypervisor.guest.ioreq.broadcastInvalidate(),
      async close() {
        disk.release()
        await guest.close()
      },
    }
  },
}
