import { domainId, guestFrame } from '@xmc/foreign'
import { Hypervisor } from '@xmc/sim'
import { describe, expect, it } from 'vitest'
import { findRam } from '../src/providers/xen-ram.ts'

/** What is found of a simulated domain that has memory at these frames. */
function found(ranges: readonly (readonly [frame: number, count: number])[], highest: number) {
  using simulator = new Hypervisor()
  const guest = simulator.createDomain({ memoryBytes: 0 })
  for (const [frame, count] of ranges) guest.populate(frame, count)
  const memory = simulator.foreignMemory()
  const banks = findRam(memory, domainId(guest.id), guestFrame(highest))
  expect(simulator.accounting.totals().mappedPages).toBe(0)
  return banks.map(({ name, address, size }) => [name, Number(address >> 12n), Number(size >> 12n)])
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
})
