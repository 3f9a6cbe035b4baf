import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, it } from 'vitest'
import { prepareMachine } from '../src/host/machine/machine.ts'
import { hasTool, runTool } from '../src/host/tool.ts'
import { temporaryFolder } from './helpers/temporary-folder.ts'

beforeEach(({ skip }) => {
  skip(!hasTool('qemu-system-aarch64') || !hasTool('dtc'), 'the emulator is not installed')
})

it('prepareMachine puts each image into memory once, one after the other, and sizes the machine for its domains', async () => {
  const folder = temporaryFolder()
  const image = (name: string, bytes: number): string => {
    writeFileSync(join(folder, name), Buffer.alloc(bytes))
    return join(folder, name)
  }
  const kernel = image('kernel', 2 * 2 ** 20)
  const initramfs = [image('system', 512), image('with,comma', 4096)]
  const parameters = await prepareMachine(folder, {
    hypervisor: '/images/xen',
    dom0: { kernel, initramfs },
    dom0Mebibytes: 1536,
    guests: [{ kernel, initramfs, bootArguments: 'rdinit=/x', memoryKibibytes: 300 * 1024 + 1 }],
    xenLog: 'warning',
  })
  expect(parameters.join(' ').replaceAll(folder, 'RUN').split(' -')).toEqual([
    '-machine virt,virtualization=on,gic-version=3',
    'cpu cortex-a57',
    'smp 1',
    'display none',
    'nodefaults',
    // 164 MiB up to the end of the images, 1536 and 300 for domains and one page more, 256 to spare.
    'm 2257',
    'no-reboot',
    'monitor none',
    'serial stdio',
    'kernel /images/xen',
    'dtb RUN/boot.dtb',
    'device loader,file=RUN/kernel,addr=0x4a000000,force-raw=on',
    'device loader,file=RUN/system,addr=0x4a200000,force-raw=on',
    'device loader,file=RUN/with,,comma,addr=0x4a200200,force-raw=on',
  ])
  const tree = await runTool('dtc', ['-q', '-I', 'dtb', '-O', 'dts', join(folder, 'boot.dtb')])
  expect(tree).toMatch(/module@4a200000 \{/)
  expect(tree).toMatch(/reg = <0x00 0x4a200000 0x00 0x1200>;/)
  expect(tree).toMatch(/domU1 \{/)
  expect(tree).toMatch(/pl061@9030000 \{[^}]*status = "disabled";/)
  expect(tree).not.toMatch(/^\s*bootargs = "(?!rdinit=)/m)
})
