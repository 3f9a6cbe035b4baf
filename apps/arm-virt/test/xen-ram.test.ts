import { domainId, guestFrame } from '@xmc/interface'
import { Hypervisor } from '@xmc/sim'
import { describe, expect, it, vi } from 'vitest'
import { findRam } from '../src/providers/xen-ram.ts'

/** What is found of a simulated domain that has memory at these frames. */
function found(ranges: readonly (readonly [frame: number, count: number])[], highest: number) {
  return search(ranges, highest).banks
}

/** The same with the calls that it took, of a domain that may have so many pages. */
function search(
  ranges: readonly (readonly [frame: number, count: number])[],
  highest: number,
  maximumPages?: number,
) {
  using simulator = new Hypervisor()
  const guest = simulator.createDomain({ memoryBytes: 0 })
  for (const [frame, count] of ranges) guest.populate(frame, count)
  const memory = simulator.foreignMemory()
  const map = vi.spyOn(memory, 'map')
  const banks = findRam(memory, domainId(guest.id), guestFrame(highest), maximumPages)
  expect(simulator.accounting.totals().mappedPages).toBe(0)
  return {
    maps: map.mock.calls.length,
    banks: banks.map(({ name, address, size }) => [
      name,
      Number(address >> 12n),
      Number(size >> 12n),
    ]),
  }
}

describe('RAM of a domain', () => {
  it('ends with its last frame, to the page', () => {
    expect(found([[0x40000, 0x2001]], 0x42000)).toEqual([['xen.ram.lo', 0x40000, 0x2001]])
  })

  it('ends with its last frame where something lies behind it', () => {
    const ranges = [[0x40000, 0x2011]] as const
    expect(found(ranges, 0x9_ffff)).toEqual([['xen.ram.lo', 0x40000, 0x2011]])
  })

  it('does not count what lies before it, as magic pages do', () => {
    const ranges = [[0x39000, 4]] as const
    expect(found(ranges, 0x39003)).toEqual([])
    expect(found([...ranges, [0x40000, 256]], 0x400ff)).toEqual([['xen.ram.lo', 0x40000, 256]])
  })

  it('goes over holes that a balloon made', () => {
    const ranges = [
      [0x40001, 0x500],
      [0x41000, 0x1000],
    ] as const
    expect(found(ranges, 0x41fff)).toEqual([['xen.ram.lo', 0x40000, 0x2000]])
  })

  it('is in the high bank, too', () => {
    const ranges = [
      [0x40000, 0x1000],
      [0x200000, 0x301],
    ] as const
    expect(found(ranges, 0x200300)).toEqual([
      ['xen.ram.lo', 0x40000, 0x1000],
      ['xen.ram.hi', 0x200000, 0x301],
    ])
  })

  it('costs few calls, wherever a guest has put a page', () => {
    const megabytes512 = 2 ** 17
    const ram = [0x40000, megabytes512] as const
    // In the last GiB of the high bank, which ends at 0x1000_0000; and where the low bank ends.
    for (const page of [0xfff_fff0, 0xffc_1234, 0x800_0000, 0x20_0001, 0xf_ffff]) {
      const { maps, banks } = search([ram, [page, 1]], page, megabytes512)
      expect(maps).toBeLessThanOrEqual(12)
      expect(banks).toContainEqual(
        page < 0x10_0000
          ? ['xen.ram.lo', 0x40000, page - 0x40000 + 1]
          : ['xen.ram.lo', 0x40000, megabytes512],
      )
    }
  })

  it('is found in full where the balloon has taken any of it, for as many pages as it may have', () => {
    const ranges = [
      [0x40001, 0xff],
      [0x41000, 1],
      [0x5_0001, 0x1000],
    ] as const
    const { maps, banks } = search(ranges, 0x90000, 2 ** 17)
    expect(banks).toEqual([['xen.ram.lo', 0x40000, 0x1_1001]])
    expect(maps).toBeLessThanOrEqual(6)
  })

  it('that goes on beyond what is expected is found to its end', () => {
    const { banks, maps } = search([[0x200000, 0x20_0000]], 0x3f_ffff, 0x1000)
    expect(banks).toEqual([['xen.ram.hi', 0x200000, 0x20_0000]])
    expect(maps).toBeLessThanOrEqual(10)
  })
})
