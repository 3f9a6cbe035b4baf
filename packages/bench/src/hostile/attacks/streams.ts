import { Writable } from 'node:stream'
import { ConsoleDevice, VIRTIO_MMIO_CONFIG } from '@xmc/virtio'
import type { Attack } from '../attack.ts'
import { HostileGuest, RAM } from '../hostile-guest.ts'
import type { HostileQueue } from '../hostile-queue.ts'

/** Offset of the emergency write in a console's configuration (virtio 1.2, 5.3.4). */
const EMERGENCY_WRITE = 8

/** A console's second queue takes what the guest writes. */
const TRANSMIT = 1

/** What the guest puts into a buffer. */
const TRANSMIT_BYTES = 2 ** 20

/** Streams: characters by the register, for a console whose output stands still. */
export const emergencyWrites: Attack = {
  id: '6 emergency writes',
  title: 'characters by the emergency register, with a console output that stands still',
  async prepare(addressing) {
    const guest = HostileGuest.open({
      addressing,
      devices: [new ConsoleDevice({ output: stuck() })],
    })
    const store = { slot: 0, offset: VIRTIO_MMIO_CONFIG + EMERGENCY_WRITE, value: 0x41 }
    return {
      step: () => guest.store(store),
      close: () => guest.close(),
    }
  },
}

/** Streams: what was transmitted outlives the reset that follows. */
export const transmitAndReset: Attack = {
  id: '6 transmit, reset',
  title: '1 MiB to a console whose output stands still, then a reset, again and again',
  async prepare(addressing) {
    const guest = HostileGuest.open({
      addressing,
      devices: [new ConsoleDevice({ output: stuck() })],
    })
    const address = guest.share(RAM + 0x40_0000, TRANSMIT_BYTES / 4096)
    let queue: HostileQueue | undefined
    return {
      async step() {
        await guest.negotiate(0)
        if (queue === undefined) {
          queue = await guest.queue({ slot: 0, index: TRANSMIT, at: RAM, size: 16 })
          queue.chain(0, [{ address, length: TRANSMIT_BYTES }])
        } else await queue.makeReady()
        await guest.start(0)
        queue.offer([0])
        await queue.notify()
      },
      close: () => guest.close(),
    }
  },
}

function stuck(): Writable {
  return new Writable({
    write() {
      // Never done.
    },
  })
}
