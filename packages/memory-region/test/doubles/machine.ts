import { AddressSpace, ContainerRegion, MmioRegion, RomRegion, XenMemory } from '../../src/index.ts'
import { PagedMemory } from './paged-memory.ts'
import { RegisterBank } from './register-bank.ts'

/**
 * A machine in small: RAM at 0x40000000 (its pages have the numbers of guest frames), grants at bit 63,
 * 256 bytes of registers at 0x2000000 and a ROM at 0.
 */
export function machine(options: { grantFrames?: number; bounceBudget?: number } = {}) {
  const memory = new PagedMemory('foreign')
  const grants = new PagedMemory('grants')
  const xen = new XenMemory({
    memory,
    banks: [{ name: 'xen.ram.lo', address: 0x40000000n, size: 0x1000000n }],
    grants,
    grantFrames: options.grantFrames,
  })
  const device = new RegisterBank(0x100)
  const registers = new MmioRegion({ name: 'virtio-mmio', size: 0x100n, device })
  const rom = new RomRegion({ name: 'rom', contents: new Uint8Array(4096).fill(0xee) })
  const root = new ContainerRegion({ name: 'system' })
  xen.addTo(root)
  root.add(registers, 0x2000000n)
  root.add(rom, 0n)
  const space = new AddressSpace({ root, bounceBudget: options.bounceBudget })
  return { memory, grants, xen, device, registers, rom, root, space }
}

/** Page of the grant address of a reference. */
export function grantPage(reference: number): number {
  return 2 ** 51 + reference
}
