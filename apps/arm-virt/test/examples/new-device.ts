import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { Board, SimulatedGuest, SimulatedHypervisor } from '@xmc/arm-virt'
import type { DescriptorChain, VirtioDevice } from '@xmc/virtio'
import { DriverTransport } from '@xmc/virtio/driver'

/** A new kind of device: it answers each request with its bytes in reverse. */
class ReverseDevice implements VirtioDevice {
  readonly deviceId = 0x3f
  readonly features = 0n
  readonly queues = [{ size: 16 }]
  readonly configuration = new Uint8Array()

  handle(chain: DescriptorChain): number {
    const bytes = chain.read().toReversed()
    chain.write(bytes)
    return bytes.length
  }
}

const hypervisor = SimulatedHypervisor.create({ memoryBytes: 64 * 2 ** 20 })
const board = Board.open(hypervisor, { devices: [new ReverseDevice()] })

// The guest's side: its driver grants one buffer for reading and one for writing.
const guest = new SimulatedGuest(hypervisor)
const driver = new DriverTransport(guest.deviceAt(0))
const answers: number[] = []
await driver.negotiate({ required: 0n, wanted: 0n })
const queue = await driver.addQueue(0, {
  completed: (_request, length) => void answers.push(length),
  takenBack: (_request, error) => void assert.fail(error),
})
await driver.setDriverOk()
const frame = guest.pages.allocate(1)
assert(frame !== undefined)
const page = guest.pages.bytes(frame, 1)
page.set(Buffer.from('stressed'))
queue.begin(2)
queue.add(frame, 0, 8, 'to-device')
queue.add(frame, 2048, 8, 'from-device')
queue.commit(0)
while (answers.length === 0) await setImmediate() // until the interrupt has been served
assert.deepEqual(answers, [8])
assert.equal(Buffer.from(page.subarray(2048, 2056)).toString(), 'desserts')

await driver.close()
await board.close()
assert.deepEqual(hypervisor.leftovers(), []) // no grant is mapped, and no event channel bound
hypervisor.close()
