import { describe, expect, test } from 'vitest'
import { errnoOf, RAM, rejectedErrno, World } from './helpers/world.ts'

const { EINVAL, ENOENT, ESRCH } = { EINVAL: 22, ENOENT: 2, ESRCH: 3 }

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

describe('aliasing', () => {
  test('a store of the guest is seen through the window, and the reverse', () => {
    using world = new World()
    world.guestWrite(RAM + 7, 0x11111111)
    expect(world.mapFrames({ first: RAM, count: 16 }, { at: 3 })).toEqual(Array(16).fill(0))
    expect(world.read(3 + 7)).toBe(0x11111111)
    world.guestWrite(RAM + 7, 0x22222222)
    expect(world.read(3 + 7)).toBe(0x22222222)
    world.write(3 + 15, 0x33333333)
    expect(world.guestRead(RAM + 15)).toBe(0x33333333)
  })

  test('scattered frames follow each other in the window, one listed twice aliases', () => {
    using world = new World()
    world.guestWrite(RAM + 9, 9)
    world.guestWrite(RAM + 2, 2)
    world.mapFrames([RAM + 9, RAM + 2, RAM + 9])
    expect([0, 1, 2].map((page) => world.read(page))).toEqual([9, 2, 9])
    world.write(0, 99)
    expect(world.read(2)).toBe(99)
  })

  test('a run of consecutive machine pages is one call at the window', () => {
    using world = new World()
    const before = world.hypervisor.faults.calls('window.map')
    world.mapFrames({ first: RAM, count: 256 })
    expect(world.hypervisor.faults.calls('window.map') - before).toBe(1)
    world.mapFrames([RAM + 1, RAM + 2, RAM + 8, RAM + 9, RAM + 10, RAM], { at: 512 })
    expect(world.hypervisor.faults.calls('window.map') - before).toBe(1 + 3)
  })

  test('unmapped pages read as zeros and are the window’s own', () => {
    using world = new World()
    world.guestWrite(RAM, 5)
    world.mapFrames({ first: RAM, count: 2 })
    world.unmapForeign(0, 2)
    expect(world.read(0)).toBe(0)
    world.write(0, 77)
    expect(world.guestRead(RAM)).toBe(5)
  })
})

describe('what real Xen was seen to answer', () => {
  test.each([
    ['a hole', [RAM - 1], [EINVAL]],
    ['a frame far beyond', [2 ** 51], [EINVAL]],
    ['a paged-out frame', [RAM + 3], [ENOENT]],
    ['a mixture', [RAM, RAM - 1, RAM + 3, RAM + 4], [0, EINVAL, ENOENT, 0]],
  ])('%s, with an error array: the errno of each frame', (_, frames, expected) => {
    using world = new World()
    world.guest.pageOut(RAM + 3)
    expect(world.mapFrames(frames)).toEqual(expected)
  })

  test.each([
    ['a hole', [RAM, RAM - 1], 1, 'EINVAL'],
    ['a paged-out frame first', [RAM + 3, RAM - 1], 1, 'ENOENT'],
    ['no such domain', [RAM], 9, 'ESRCH'],
    ['the caller’s own domain', [RAM], 0, 'ESRCH'],
    ['DOMID_SELF', [RAM], 0x7ff0, 'ESRCH'],
    ['no frames', [], 1, 'EINVAL'],
  ])('%s, without an error array: the whole call fails', (_, frames, domain, errno) => {
    using world = new World()
    world.guest.pageOut(RAM + 3)
    world.write(0, 0xeeeeeeee)
    expect(errnoOf(() => world.mapFrames(frames, { domain, errors: null }))).toBe(errno)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
    expect(world.read(0)).toBe(frames.length === 0 ? 0xeeeeeeee : 0)
  })

  test('no such domain, with an error array: the call fails, and each frame has the errno', () => {
    using world = new World()
    const errors = new Int32Array(3).fill(-1)
    const map = () => world.mapFrames([RAM, RAM + 1], { domain: 9, errors })
    expect(errnoOf(map)).toBe('ESRCH')
    expect([...errors]).toEqual([ESRCH, ESRCH, -1])
  })

  test('S86 three frames with the middle missing: [0, EINVAL, 0], and without errors nothing is mapped', () => {
    using world = new World()
    world.guest.depopulate(RAM + 1)
    world.guestWrite(RAM + 2, 0x1234)
    expect(world.mapFrames({ first: RAM, count: 3 })).toEqual([0, EINVAL, 0])
    expect(world.read(1)).toBe(0)
    expect(world.read(2)).toBe(0x1234)
    world.unmapForeign(0, 3)
    expect(errnoOf(() => world.mapFrames({ first: RAM, count: 3 }, { errors: null }))).toBe(
      'EINVAL',
    )
    expect([0, 1, 2].map((page) => world.read(page))).toEqual([0, 0, 0])
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('a failed page is the window’s own, whatever the window held', () => {
    using world = new World()
    world.mapFrames([RAM, RAM + 1])
    world.write(1, 0xeeeeeeee)
    expect(world.mapFrames([RAM, RAM - 1])).toEqual([0, EINVAL])
    expect(world.read(1)).toBe(0)
    expect(world.guestRead(RAM + 1)).toBe(0xeeeeeeee)
  })

  test('part of a mapping can be neither unmapped nor mapped over: EINVAL, and it stays', () => {
    using world = new World()
    world.guestWrite(RAM + 3, 3)
    world.mapFrames({ first: RAM, count: 4 })
    expect(errnoOf(() => world.unmapForeign(0, 2))).toBe('EINVAL')
    expect(errnoOf(() => world.unmapForeign(3, 2))).toBe('EINVAL')
    expect(errnoOf(() => world.mapFrames([RAM + 9], { at: 3 }))).toBe('EINVAL')
    expect(world.read(3)).toBe(3)
    world.unmapForeign(0, 4)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('a map over whole mappings replaces them', () => {
    using world = new World()
    world.guestWrite(RAM + 20, 20)
    world.mapFrames([RAM, RAM + 1], { at: 0 })
    world.mapFrames([RAM + 2], { at: 2 })
    world.mapFrames([RAM + 20, RAM + 21, RAM + 22], { at: 0 })
    expect(world.read(0)).toBe(20)
    expect(world.hypervisor.accounting.mappings().map(({ pageCount }) => pageCount)).toEqual([3])
  })

  test('one unmap removes several mappings and failed pages', () => {
    using world = new World()
    world.mapFrames([RAM, RAM - 1, RAM + 1], { at: 0 })
    world.mapFrames([RAM + 2], { at: 5 })
    world.unmapForeign(0, 8)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('a failed page can be mapped by itself later, and either mapping goes without the other', () => {
    using world = new World()
    world.guest.depopulate(RAM + 1)
    expect(world.mapFrames([RAM, RAM + 1])).toEqual([0, EINVAL])
    world.guest.populate(RAM + 1)
    world.guestWrite(RAM + 1, 0xb)
    expect(world.mapFrames([RAM + 1], { at: 1 })).toEqual([0])
    world.unmapForeign(0, 1)
    expect(world.read(1)).toBe(0xb)
    expect(world.hypervisor.accounting.mappings()).toHaveLength(1)
    world.unmapForeign(1, 1)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('no pages to unmap: EINVAL', () => {
    using world = new World()
    expect(errnoOf(() => world.unmapForeign(0, 0))).toBe('EINVAL')
  })
})

describe('arguments', () => {
  test('a target outside the window, or errors too short, is refused before anything happens', () => {
    using world = new World()
    world.write(1023, 7)
    const code = 'ERR_XMC_ARGUMENT'
    expect(() => world.mapFrames([RAM, RAM + 1], { at: 1023 })).toThrow(
      expect.objectContaining({ code }),
    )
    expect(() => world.mapFrames([RAM, RAM + 1], { errors: new Int32Array(1) })).toThrow(
      expect.objectContaining({ code, field: 'errors' }),
    )
    expect(() => world.unmapForeign(1023, 2)).toThrow(expect.objectContaining({ code }))
    expect(world.read(1023)).toBe(7)
    expect(world.hypervisor.faults.calls('foreign.map')).toBe(0)
  })

  test('a read-only mapping is read-only at the host', async () => {
    using world = new World()
    world.mapFrames([RAM], { writable: false })
    const { readFileSync } = await import('node:fs')
    const start = world.window.hostAddress.toString(16)
    const line = readFileSync('/proc/self/maps', 'utf8')
      .split('\n')
      .find((l) => l.startsWith(start))
    expect(line).toMatch(/ r--s .*memfd:xmc-sim/)
  })
})

describe('mapAsync', () => {
  test('waits for a frame that is paged in meanwhile', async () => {
    using world = new World({ pagingRetry: { intervalMilliseconds: 0, attempts: 100 } })
    world.guestWrite(RAM + 1, 0xabcd)
    world.guest.pageOut(RAM + 1)
    const errors = new Int32Array(2)
    const mapped = world.foreign.mapAsync(world.foreignRequest([RAM, RAM + 1], { errors }))
    while (world.hypervisor.faults.calls('foreign.map') === 0) await nextTurn()
    expect(world.hypervisor.accounting.mappings()).toEqual([])
    world.guest.pageIn(RAM + 1)
    await mapped
    expect([...errors]).toEqual([0, 0])
    expect(world.read(1)).toBe(0xabcd)
    expect(world.hypervisor.accounting.mappings()).toHaveLength(1)
    expect(world.hypervisor.faults.calls('foreign.map')).toBeGreaterThan(1)
  })

  test('a frame that stays paged out gets ENOENT, the others are mapped', async () => {
    using world = new World({ pagingRetry: { intervalMilliseconds: 0, attempts: 3 } })
    world.guest.pageOut(RAM + 1)
    const errors = new Int32Array(2)
    await world.foreign.mapAsync(world.foreignRequest([RAM, RAM + 1], { errors }))
    expect([...errors]).toEqual([0, ENOENT])
    expect(world.hypervisor.faults.calls('foreign.map')).toBe(4)
    expect(world.hypervisor.accounting.totals().mappedPages).toBe(1)
  })

  test('without an error array it rejects with ENOENT in the end, and nothing is mapped', async () => {
    using world = new World({ pagingRetry: { intervalMilliseconds: 0, attempts: 2 } })
    world.guest.pageOut(RAM)
    expect(await rejectedErrno(world.foreign.mapAsync(world.foreignRequest([RAM])))).toBe('ENOENT')
    expect(world.hypervisor.faults.calls('foreign.map')).toBe(3)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('nothing is mapped in the turn that called, and a close meanwhile rejects', async () => {
    using world = new World()
    const mapped = world.foreign.mapAsync(world.foreignRequest([RAM]))
    expect(world.hypervisor.accounting.mappings()).toEqual([])
    world.foreign.close()
    await expect(mapped).rejects.toThrow(expect.objectContaining({ code: 'ERR_XMC_CLOSED' }))
  })
})

describe('close', () => {
  test('removes every mapping; calls are refused from then on, a second close does nothing', () => {
    using world = new World()
    world.guestWrite(RAM, 1)
    world.mapFrames([RAM])
    world.mapFrames([RAM + 1, RAM + 2], { at: 10 })
    world.foreign.close()
    expect(world.read(0)).toBe(0)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
    expect(() => world.mapFrames([RAM])).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_CLOSED' }),
    )
    expect(() => world.unmapForeign(0, 1)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_CLOSED' }),
    )
    world.foreign.close()
  })

  test('a window that was closed first has no mappings any more', () => {
    using world = new World()
    world.mapFrames([RAM])
    world.window.close()
    world.foreign.close()
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('two devices do not see each other’s mappings', () => {
    using world = new World()
    const other = world.hypervisor.foreignMemory(0, { name: 'other' })
    world.mapFrames([RAM])
    other.map(world.foreignRequest([RAM], { at: 4 }))
    other.close()
    expect(world.hypervisor.accounting.mappings()).toEqual([
      expect.objectContaining({ device: 'foreign', windowPage: 0 }),
    ])
  })
})
