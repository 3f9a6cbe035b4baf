import { SimulatedHypervisor } from '@xmc/arm-virt'
import { Hypervisor } from '@xmc/sim'
import { BlockDevice, MemoryDisk } from '@xmc/virtio'
import type { Attack, Attacker } from '../attack.ts'
import { RequestEnds } from '../block-requests.ts'
import { HostileGuest, RAM } from '../hostile-guest.ts'
import type { HostileQueue } from '../hostile-queue.ts'
import { SlowDisk } from '../slow-disk.ts'

const MIB = 2 ** 20

/** The MiB of guest memory of which every other page was given back. */
const FIRST_MIB = 100
const MIB_COUNT = 300
const MEMORY_BYTES = 512 * MIB

/** Buffers of a read, each in a MiB of its own. */
const BUFFERS = 100

/** Single granted pages, and slow disks that hold them mapped. */
const PAGES = 8000
const DISKS = 3
const PAGES_EACH = 250

/** Memory areas: as many pieces of memory as there can be, mapped at the same time. */
export const areas: Attack = {
  id: '1 areas',
  title: 'one page in each MiB of memory with holes, or thousands of single grants at slow disks',
  prepare: (addressing) => (addressing === 'foreign' ? holes() : singleGrants()),
}

/** Reads that name one page in each MiB, every other page of which was given back as by a balloon. */
async function holes(): Promise<Attacker> {
  const simulator = new Hypervisor()
  const domain = simulator.createDomain({ memoryBytes: 64 * MIB, ramBase: RAM / 4096 })
  for (let mib = FIRST_MIB; mib < FIRST_MIB + MIB_COUNT; mib++) {
    for (let page = 0; page < 256; page += 2) domain.populate(RAM / 4096 + mib * 256 + page, 1)
  }
  const hypervisor = SimulatedHypervisor.attach(simulator, domain, {
    ram: [{ name: 'xen.ram.lo', address: BigInt(RAM), size: BigInt(MEMORY_BYTES) }],
  })
  const disk = new MemoryDisk(MIB)
  const devices = [new BlockDevice({ disk })]
  const guest = HostileGuest.open({ addressing: 'foreign', hypervisor, devices })
  await guest.negotiate(0)
  const queue = await guest.queue({ slot: 0, at: RAM })
  const ends = new RequestEnds(guest)
  for (let request = 0; request < MIB_COUNT / BUFFERS; request++) {
    const buffers = Array.from({ length: BUFFERS }, (_, nth) => ({
      address: BigInt(RAM + (FIRST_MIB + request * BUFFERS + nth) * MIB),
      length: nth < BUFFERS - 1 ? 64 : 64 + 512 - ((BUFFERS * 64) % 512),
    }))
    queue.indirect(request, RAM + 0x100_0000 + request * 8192, ends.read(buffers))
  }
  await guest.start(0)
  return {
    async step() {
      if (queue.outstanding > 0) return
      queue.offer([0, 1, 2])
      await queue.notify()
    },
    async close() {
      await guest.close()
      simulator.close()
    },
  }
}

/** Requests of single granted pages that do not lie side by side, for reading and for writing in turn. */
async function singleGrants(): Promise<Attacker> {
  const disks = Array.from({ length: DISKS }, () => new SlowDisk(20))
  const devices = disks.map((disk) => new BlockDevice({ disk }))
  const guest = HostileGuest.open({ addressing: 'grants', devices })
  const ends = new RequestEnds(guest)
  // Every third page, so that no two of a request are neighbours anywhere.
  const pages = Array.from({ length: PAGES }, (_, nth) =>
    guest.share(RAM + 0x200_0000 + ((nth * 3) % PAGES) * 4096, 1),
  )
  const queues: HostileQueue[] = []
  for (const [slot] of disks.entries()) {
    await guest.negotiate(slot)
    const queue = await guest.queue({ slot, at: RAM + slot * 0x1_0000 })
    for (let request = 0; request < PAGES / PAGES_EACH; request++) {
      const first = request * PAGES_EACH
      const buffers = pages
        .slice(first, first + PAGES_EACH)
        .map((address) => ({ address, length: 4096 }))
      const chain = request % 2 === 0 ? ends.read(buffers) : ends.write(buffers)
      queue.indirect(request, RAM + 0x100_0000 + (slot * 64 + request) * 8192, chain)
    }
    await guest.start(slot)
    queues.push(queue)
  }
  const heads = Array.from({ length: PAGES / PAGES_EACH }, (_, request) => request)
  let turn = 0
  return {
    async step() {
      const queue = queues[turn++ % DISKS]
      if (queue === undefined || queue.outstanding > 0) return
      queue.offer(heads)
      await queue.notify()
    },
    close: () => guest.close(),
  }
}
