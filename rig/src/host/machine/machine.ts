import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runTool } from '../tool.ts'
import { type BootDescription, type BootModule, bootSource, type GuestBoot } from './device-tree.ts'
import { type DiskAddressing, virtioDevices } from './virtio-devices.ts'

/** Files a domain boots from. */
interface DomainImages {
  readonly kernel: string
  /** Archives that Linux unpacks over each other. */
  readonly initramfs: readonly string[]
}

/** A guest that starts together with dom0. */
interface GuestConfiguration extends DomainImages {
  readonly bootArguments: string
  readonly memoryKibibytes: number
  /** Two virtio-mmio transports, for disks that dom0 serves; none by default. */
  readonly disks?: DiskAddressing | undefined
}

/** A machine with Xen to boot. */
export interface MachineConfiguration {
  /** The hypervisor's image. */
  readonly hypervisor: string
  readonly dom0: DomainImages
  readonly dom0Mebibytes: number
  readonly guests: readonly GuestConfiguration[]
  /** What Xen writes to its console, as its option `loglvl` has it: `warning`, `info`, `all`, … */
  readonly xenLog: string
}

/** Transports of a guest that has disks. */
const diskCount = 2

/** RAM of the machine starts here. */
const ramBase = 0x4000_0000

/** The emulator puts its device tree at 0x48000000; below this address nothing is ours. */
const firstModule = 0x4a00_0000

/** Linux wants its image on a multiple of it. */
const moduleAlignment = 2 * 2 ** 20

/** What Xen takes for itself, and loses where domains do not fit end to end. */
const spareMebibytes = 256

/** One processor: with two that are emulated, everything was far slower, and erratic. */
const board = [
  ['-machine', 'virt,virtualization=on,gic-version=3'],
  ['-cpu', 'cortex-a57'],
  ['-smp', '1'],
  ['-display', 'none'],
  ['-nodefaults'],
].flat()

/** The serial line is the emulator's standard output; a reboot is a power off. */
const consoleOnly = ['-no-reboot', '-monitor', 'none', '-serial', 'stdio']

/**
 * Makes what the emulator needs to boot the machine, in a folder of its own, and returns the emulator's
 * parameters. The console is the emulator's standard output.
 */
export async function prepareMachine(
  folder: string,
  configuration: MachineConfiguration,
): Promise<string[]> {
  const memory = new ModuleMemory()
  const { dom0 } = configuration
  const description: BootDescription = {
    xenArguments: [
      'console=dtuart',
      'dtuart=/pl011@9000000',
      `dom0_mem=${configuration.dom0Mebibytes}M`,
      'dom0_max_vcpus=1',
      'bootscrub=0',
      `loglvl=${configuration.xenLog}`,
      // What Xen says about guests, dom0 too, would stand in the middle of what they say.
      'guest_loglvl=none',
    ].join(' '),
    dom0: {
      kernel: await memory.load([dom0.kernel]),
      initramfs: await memory.load(dom0.initramfs),
      bootArguments: 'console=hvc0 rdinit=/init-dom0 loglevel=4 panic=1 clk_ignore_unused',
    },
    guests: await inOrder(configuration.guests, async (guest): Promise<GuestBoot> => {
      const { bootArguments, memoryKibibytes, disks } = guest
      return {
        kernel: await memory.load([guest.kernel]),
        initramfs: await memory.load(guest.initramfs),
        bootArguments,
        memoryKibibytes,
        ...(disks !== undefined && {
          devices: await memory.load([await compileDevices(folder, disks)]),
        }),
      }
    }),
  }
  const machine = [...board, '-m', String(memory.mebibytesWith(configuration))]
  return [
    ...machine,
    ...consoleOnly,
    '-kernel',
    configuration.hypervisor,
    '-dtb',
    await compileDeviceTree(folder, machine, bootSource(description)),
    ...memory.parameters,
  ]
}

/** Where modules stand in the machine's memory at boot, one after the other. */
class ModuleMemory {
  readonly parameters: string[] = []
  readonly #loaded = new Map<string, BootModule>()
  #next = firstModule

  /** Puts files end to end, as one module. Domains share it: Xen copies from it for each. */
  async load(files: readonly string[]): Promise<BootModule> {
    const key = files.join('\n')
    const module = this.#loaded.get(key) ?? (await this.#load(files))
    this.#loaded.set(key, module)
    return module
  }

  async #load(files: readonly string[]): Promise<BootModule> {
    const address = this.#next
    let end = address
    for (const file of files) {
      const quoted = file.replaceAll(',', ',,')
      const place = `addr=0x${end.toString(16)}`
      this.parameters.push('-device', `loader,file=${quoted},${place},force-raw=on`)
      end += (await stat(file)).size
    }
    this.#next = Math.ceil(end / moduleAlignment) * moduleAlignment
    return { address, size: end - address }
  }

  /** Memory for the modules and for the domains, which are made while the modules are still there. */
  mebibytesWith({ dom0Mebibytes, guests }: MachineConfiguration): number {
    const modules = (this.#next - ramBase) / 2 ** 20
    const kibibytes = guests.reduce((sum, guest) => sum + guest.memoryKibibytes, 0)
    return Math.ceil(modules + dom0Mebibytes + kibibytes / 1024 + spareMebibytes)
  }
}

async function compileDeviceTree(
  folder: string,
  machine: readonly string[],
  addition: string,
): Promise<string> {
  const ofMachine = join(folder, 'machine.dtb')
  const source = join(folder, 'boot.dts')
  const compiled = join(folder, 'boot.dtb')
  await runTool('qemu-system-aarch64', [...machine, '-machine', `dumpdtb=${ofMachine}`])
  const decompiled = await runTool('dtc', ['-q', '-I', 'dtb', '-O', 'dts', ofMachine])
  await writeFile(source, `${decompiled}\n${addition}\n`)
  await runTool('dtc', ['-q', '-I', 'dts', '-O', 'dtb', '-o', compiled, source])
  return compiled
}

async function compileDevices(folder: string, disks: DiskAddressing): Promise<string> {
  const source = join(folder, 'devices.dts')
  const compiled = join(folder, 'devices.dtb')
  await writeFile(source, virtioDevices(diskCount, disks))
  await runTool('dtc', ['-q', '-I', 'dts', '-O', 'dtb', '-o', compiled, source])
  return compiled
}

async function inOrder<Item, Result>(
  items: readonly Item[],
  make: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  for (const item of items) results.push(await make(item))
  return results
}
