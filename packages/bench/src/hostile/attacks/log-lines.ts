import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SimulatedHypervisor, serveDomain } from '@xmc/arm-virt'
import { VIRTIO_MMIO_QUEUE_NOTIFY } from '@xmc/virtio'
import type { Attack } from '../attack.ts'
import { RequestEnds } from '../block-requests.ts'
import { HostileGuest, RAM } from '../hostile-guest.ts'

/** A type that no request has. */
const UNKNOWN_TYPE = 0x7777

const QUEUE_SIZE = 256

/** Logs: everything that a guest can do of which the host's user is told. */
export const logLines: Attack = {
  id: '8 log lines',
  title: '256 requests of an unknown type in a notification, and stores to odd addresses',
  async prepare(addressing) {
    const folder = await mkdtemp(join(tmpdir(), 'xmc-bench-'))
    const path = join(folder, 'disk.img')
    const file = await open(path, 'w')
    await file.truncate(2 ** 20)
    await file.close()
    const hypervisor = SimulatedHypervisor.create({ memoryBytes: 64 * 2 ** 20 })
    const end = new AbortController()
    let lines = 0
    let serving: Promise<unknown> = Promise.resolve()
    // The first notice is that the guest can come.
    await new Promise<void>((resolve, reject) => {
      serving = serveDomain({
        domain: hypervisor.domain,
        disks: [path],
        addressing,
        attach: () => hypervisor,
        signal: end.signal,
        onNotice() {
          lines += 1
          resolve()
        },
      })
      serving.catch(reject)
    })
    const guest = new HostileGuest(addressing, hypervisor)
    await guest.negotiate(0)
    const queue = await guest.queue({ slot: 0, at: RAM, size: QUEUE_SIZE })
    queue.chain(0, new RequestEnds(guest).read([]))
    guest.memory.writeUint32(RAM + 0x20_0000, UNKNOWN_TYPE)
    await guest.start(0)
    const heads = Array.from({ length: QUEUE_SIZE }, () => 0)
    return {
      lines: () => lines,
      async step() {
        if (queue.outstanding === 0) {
          queue.offer(heads)
          await queue.notify()
        }
        await guest.store({ slot: 0, offset: VIRTIO_MMIO_QUEUE_NOTIFY + 1, value: 0 })
      },
      async close() {
        end.abort()
        await serving
        await rm(folder, { recursive: true })
      },
    }
  },
}
