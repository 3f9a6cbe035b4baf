import { MemoryDisk } from '@xmc/virtio'
import { expect, it } from 'vitest'
import { DiskMachine } from '../src/machine.ts'

it('a machine that leaves something behind says what, when it is closed', async () => {
  const machine = DiskMachine.open({ disks: [new MemoryDisk(512)] })
  machine.hypervisor.createIoreqServer()
  await expect(machine.close()).rejects.toMatchObject({ code: 'ERR_XMC_LEFTOVERS' })
})
