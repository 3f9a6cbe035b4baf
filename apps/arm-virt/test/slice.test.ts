import { createHash, randomFillSync } from 'node:crypto'
import { BlockDevice, MemoryDisk } from '@xmc/virtio'
import { expect, it } from 'vitest'
import { Board, SimulatedGuest, SimulatedHypervisor, readDisk } from '../src/index.ts'

for (const addressing of ['foreign', 'grants'] as const) {
  it(`reads a disk: ${addressing}`, async () => {
    const bytes = randomFillSync(new Uint8Array(8 * 2 ** 20))
    const hypervisor = SimulatedHypervisor.create({ memoryBytes: 2 ** 27, virtualCpus: 1, grantFrames: 64 })
    const board = Board.open(hypervisor, { addressing, devices: [new BlockDevice({ disk: new MemoryDisk(bytes) })] })
    const guest = new SimulatedGuest(hypervisor, { addressing })
    const [found] = await guest.findDisks()
    const driver = guest.blockDriver(found!.slot)
    await driver.start()
    const result = await readDisk(driver)
    await driver.close()
    expect(result.sha256).toBe(createHash('sha256').update(bytes).digest('hex'))
    console.log(board.statistics, driver.statistics)
    if (addressing === 'grants') expect(hypervisor.usage).toMatchObject({ mappedPages: 0, pinnedGrants: 0 })
    await board.close()
    expect(hypervisor.leftovers()).toEqual([])
    hypervisor.close()
  })
}
