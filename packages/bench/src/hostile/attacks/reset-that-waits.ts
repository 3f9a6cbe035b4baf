import { SimulatedGuest } from '@xmc/arm-virt'
import { BlockDevice, MemoryDisk } from '@xmc/virtio'
import { BlockDriver, type MmioBus } from '@xmc/virtio/driver'
import type { Attack } from '../attack.ts'
import { RequestEnds } from '../block-requests.ts'
import { HostileGuest, RAM } from '../hostile-guest.ts'
import type { HostileQueue } from '../hostile-queue.ts'
import { SlowDisk } from '../slow-disk.ts'

const MIB = 2 ** 20

/** Milliseconds that the attacked disk takes, and a processor that has reset it waits. */
const DISK_MILLISECONDS = 200

/** One disk holds another's processor: the victim is a disk of the same guest, driven by its second processor. */
export const resetThatWaits: Attack = {
  id: '9 reset that waits',
  title: 'processor 0 resets a disk that is busy; processor 1 uses another of the same guest',
  async prepare(addressing) {
    const slow = new SlowDisk(DISK_MILLISECONDS)
    const devices = [
      new BlockDevice({ disk: slow }),
      new BlockDevice({ disk: new MemoryDisk(64 * MIB) }),
    ]
    const guest = HostileGuest.open({
      addressing,
      devices,
      memoryBytes: 1024 * MIB,
      virtualCpus: 2,
    })
    const { hypervisor } = guest
    // The driver takes its memory from the start; what is hostile lies behind.
    const at = RAM + 768 * MIB
    const address = guest.share(at + MIB, 1)
    const { ioreq } = hypervisor.guest
    const bus: MmioBus = {
      read: async (where, size) =>
        Number(await ioreq.access({ address: BigInt(where), size, write: false, vcpu: 1 })),
      write: async (where, value, size) => {
        const data = BigInt(value)
        await ioreq.access({ address: BigInt(where), size, write: true, data, vcpu: 1 })
      },
    }
    const neighbour = new SimulatedGuest(hypervisor, { addressing })
    const victim = new BlockDriver({ ...neighbour.deviceAt(1), bus })
    await victim.start()
    let queue: HostileQueue | undefined
    return {
      victim,
      async step() {
        await guest.negotiate(0)
        if (queue === undefined) {
          queue = await guest.queue({ slot: 0, at, size: 16 })
          queue.chain(0, new RequestEnds(guest, at + 2 * MIB).read([{ address, length: 512 }]))
        } else await queue.makeReady()
        await guest.start(0)
        queue.offer([0])
        await queue.notify()
      },
      async close() {
        slow.release()
        await guest.close()
      },
    }
  },
}
