import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { prepareMachine } from '../src/host/machine/machine.ts'
import { temporaryFolder } from './helpers/temporary-folder.ts'

it('prepareMachine refuses domains that do not fit beside the images', async () => {
  const folder = temporaryFolder()
  const image = join(folder, 'image')
  writeFileSync(image, Buffer.alloc(2 * 2 ** 20))
  const images = { kernel: image, initramfs: [image, image] }
  const machine = prepareMachine(folder, {
    hypervisor: image,
    dom0: images,
    dom0Mebibytes: 1536,
    guests: [{ ...images, bootArguments: '', memoryKibibytes: 1300 * 1024 + 1 }],
    xenLog: 'warning',
  })
  // Images end at 172 MiB of RAM: 160 below them, and 2 x (2 + 4).
  await expect(machine).rejects.toMatchObject({
    code: 'ERR_XMC_RIG',
    message:
      'the emulated machine has 3072 MiB and 3073 MiB are needed: 2837 MiB for domains, 172 MiB up to the ' +
      'end of the images: give the domains less, or leave files out',
  })
})
