import { describe, expect, it } from 'vitest'
import {
  MAXIMUM_RAM_BYTES,
  ramBanks,
  transportAddress,
  transportInterrupt,
  VIRTIO_MMIO_SLOTS,
} from '../src/index.ts'

const GIB = 2 ** 30

describe('RAM', () => {
  it('lies at 1 GiB as long as it has up to 3 GiB', () => {
    expect(ramBanks(4096)).toEqual([{ name: 'xen.ram.lo', address: 0x4000_0000n, size: 4096n }])
    expect(ramBanks(3 * GIB)).toEqual([
      { name: 'xen.ram.lo', address: 0x4000_0000n, size: 0xc000_0000n },
    ])
  })

  it('goes on at 8 GiB with what is over 3 GiB', () => {
    expect(ramBanks(3 * GIB + 4096)).toEqual([
      { name: 'xen.ram.lo', address: 0x4000_0000n, size: 0xc000_0000n },
      { name: 'xen.ram.hi', address: 0x2_0000_0000n, size: 4096n },
    ])
  })

  it('has 1,019 GiB at most', () => {
    expect(MAXIMUM_RAM_BYTES).toBe(1019 * GIB)
    expect(ramBanks(1019 * GIB).at(-1)).toEqual({
      name: 'xen.ram.hi',
      address: 0x2_0000_0000n,
      size: 0xfe_0000_0000n,
    })
    expect(() => ramBanks(1019 * GIB + 4096)).toThrow(
      expect.objectContaining({
        code: 'ERR_XMC_RAM_SIZE',
        bytes: 1019 * GIB + 4096,
        maximumBytes: 1019 * GIB,
      }),
    )
  })

  it.each([0, -4096, 4095, 6144, 1.5, Number.NaN, 2 ** 60])('refuses %d bytes', (bytes) => {
    expect(() => ramBanks(bytes)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^ERR_XMC_(ARGUMENT|RAM_SIZE)$/) }),
    )
  })
})

describe('transports', () => {
  it('start at 0x02000000, 0x200 apart, with interrupts from 33 to 43', () => {
    expect(VIRTIO_MMIO_SLOTS).toBe(11)
    expect([transportAddress(0), transportInterrupt(0)]).toEqual([0x0200_0000n, 33])
    expect([transportAddress(1), transportInterrupt(1)]).toEqual([0x0200_0200n, 34])
    expect([transportAddress(10), transportInterrupt(10)]).toEqual([0x0200_1400n, 43])
  })

  it.each([-1, 11, 0.5])('have no slot %d', (slot) => {
    expect(() => transportAddress(slot)).toThrow(/integer from 0 to 10/)
    expect(() => transportInterrupt(slot)).toThrow(/integer from 0 to 10/)
  })
})
