import {
  AddressSpace,
  ContainerRegion,
  MmioRegion,
  mtree,
  PlainMemory,
  RomRegion,
  XenMemory,
} from '../../src/index.ts'

// Backings: on Xen the caches of @xmc/foreign and @xmc/grants, here memory of this process.
const xen = new XenMemory({
  memory: new PlainMemory({ pageCount: 0x1000, name: 'ram' }),
  banks: [{ name: 'xen.ram.lo', address: 0x100000n, size: 0xf00000n }],
  grants: new PlainMemory({ pageCount: 64, name: 'grants' }),
})
const status = new MmioRegion({
  name: 'status',
  size: 0x200n,
  device: { read: (offset) => (offset === 0 ? 0x74726976 : 0), write: () => {} },
})
const rom = new RomRegion({ name: 'boot.rom', contents: Uint8Array.of(0x7f), size: 0x1000n })

const system = new ContainerRegion({ name: 'system' })
const space = new AddressSpace({ root: system })
space.transaction(() => {
  xen.addTo(system) // RAM at 1 MiB, grants at bit 63
  system.add(status, 0x2000000n)
  system.add(rom, 0n)
})

export const magic: number = space.loadUint32At(0x2000000n)

// A device writes 16 bytes to grant reference 7, as a virtio descriptor names it.
const mapping = space.mapAt(0x8000_0000_0000_7000n, 16, true)
mapping.bytes.fill(0xab)
mapping.release(16)

export const picture: string = mtree(space)
export const view: string = mtree(space, { flat: true })
