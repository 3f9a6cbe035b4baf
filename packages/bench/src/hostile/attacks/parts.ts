import { BlockDevice } from '@xmc/virtio'
import type { Attack } from '../attack.ts'
import { RequestEnds } from '../block-requests.ts'
import { HostileGuest, RAM } from '../hostile-guest.ts'
import { SlowDisk } from '../slow-disk.ts'

const QUEUE_SIZE = 2048
const BUFFERS = QUEUE_SIZE - 2

/** Memory by small parts: what a buffer costs the host is much more than what it holds. */
export const parts: Attack = {
  id: '5 small parts',
  title: 'a queue of 2,048 requests of 2,046 buffers of 1 byte, at a slow disk',
  async prepare(addressing) {
    const disk = new SlowDisk(50)
    const devices = [new BlockDevice({ disk, queueSize: QUEUE_SIZE })]
    const guest = HostileGuest.open({ addressing, devices })
    await guest.negotiate(0)
    const queue = await guest.queue({ slot: 0, at: RAM, size: QUEUE_SIZE })
    const address = guest.share(RAM + 0x40_0000, 1)
    const data = Array.from({ length: BUFFERS }, (_, nth) => ({
      address,
      // Whole sectors together.
      length: nth < BUFFERS - 1 ? 1 : 512 - ((BUFFERS - 1) % 512),
    }))
    queue.chain(0, new RequestEnds(guest).read(data))
    await guest.start(0)
    const heads = Array.from({ length: QUEUE_SIZE }, () => 0)
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
