import { windowPage } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import { FailedPageTouchedError } from '../src/index.ts'
import { RAM, World } from './helpers/world.ts'

/** The hole before the guest's memory, and the page of the window where it was to be. */
const HOLE = RAM - 1
const REPORT = {
  device: 'foreign',
  mapper: 0,
  domain: 1,
  frame: HOLE,
  errno: 22,
  windowPage: windowPage(6),
}
const LEFTOVER =
  'touched page: window page 6, where frame 0x3ffff of domain 1 failed to map (EINVAL), by domain 0 through foreign'
const touched = expect.objectContaining({ code: 'ERR_XMC_FAILED_PAGE_TOUCHED' })

/** Maps three frames from window page 5 on, the middle one a hole, and stores to the hole. */
function touchHole(world: World): void {
  expect(world.mapFrames([RAM, HOLE, RAM + 1], { at: 5 })).toEqual([0, 22, 0])
  world.view.setUint8(6 * 4096 + 4095, 1)
}

describe('a store to a page that failed to map', () => {
  test('is found at the unmap, which removes everything and then throws', () => {
    using world = new World({ recordCalls: true })
    touchHole(world)
    let thrown: unknown
    try {
      world.unmapForeign(5, 3)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(FailedPageTouchedError)
    expect(thrown).toMatchObject({
      code: 'ERR_XMC_FAILED_PAGE_TOUCHED',
      domain: 1,
      frame: HOLE,
      windowPage: 6,
      pages: [REPORT],
      message:
        'window page 6, where frame 0x3ffff of domain 1 failed to map (EINVAL), was stored to: real Xen would have killed the process: look at the errors of a map before touching its pages',
    })
    expect([5, 6, 7].map((page) => world.view.getUint8(page * 4096 + 4095))).toEqual([0, 0, 0])
    const { accounting } = world.hypervisor
    expect(accounting.mappings()).toEqual([])
    expect(accounting.log.at(-1)).toMatchObject({ site: 'foreign.unmap', errno: 0 })
    expect(accounting.touchedPages()).toEqual([REPORT])
    expect(accounting.leftovers()).toEqual([LEFTOVER])
    world.unmapForeign(5, 3)
    expect(accounting.touchedPages()).toHaveLength(1)
  })

  test('shows in the accounting before anything finds it', () => {
    using world = new World({ onFailedPageTouched: 'record' })
    touchHole(world)
    expect(world.hypervisor.accounting.touchedPages()).toEqual([REPORT])
    expect(world.hypervisor.accounting.leftovers()).toContain(LEFTOVER)
    expect(world.hypervisor.accounting.touchedPages()).toHaveLength(1)
  })

  test('is only recorded when the hypervisor is told so', () => {
    using world = new World({ onFailedPageTouched: 'record' })
    touchHole(world)
    world.unmapForeign(5, 3)
    expect(world.hypervisor.accounting.leftovers()).toEqual([LEFTOVER])
  })

  test('is found at a map over it, which leaves anonymous pages', () => {
    using world = new World()
    touchHole(world)
    world.guestWrite(RAM + 9, 9)
    expect(() => world.mapFrames([RAM + 9], { at: 6 })).toThrow(touched)
    expect([world.read(6), world.view.getUint8(6 * 4096 + 4095)]).toEqual([0, 0])
    expect(world.hypervisor.accounting.mappings()).toHaveLength(1)
    expect(world.mapFrames([RAM + 9], { at: 6 })).toEqual([0])
    expect(world.read(6)).toBe(9)
  })

  test('is found at a map of grants over it', () => {
    using world = new World()
    touchHole(world)
    const references = world.share([RAM + 3])
    expect(() => world.mapReferences(references, { at: 6 })).toThrow(touched)
    expect(world.hypervisor.accounting.pins()).toEqual([])
    expect(world.hypervisor.accounting.touchedPages()).toHaveLength(1)
  })

  test('is found at the close of the device, which is closed all the same', () => {
    using world = new World()
    touchHole(world)
    expect(() => world.foreign.close()).toThrow(touched)
    expect(world.hypervisor.accounting.leftovers()).toEqual([LEFTOVER])
    world.foreign.close()
  })

  test('is found at the close of the hypervisor, which closes its other devices all the same', () => {
    using world = new World()
    touchHole(world)
    world.mapReferences(world.share([RAM]), { at: 20 })
    expect(() => world.hypervisor.close()).toThrow(touched)
    expect(world.hypervisor.accounting.mappings()).toEqual([])
    expect(world.hypervisor.accounting.pins()).toEqual([])
  })

  test('is found at the death of the domain that maps, which dies all the same', () => {
    using world = new World()
    const model = world.hypervisor.createDomain({ memoryBytes: 0 })
    world.hypervisor
      .foreignMemory(model.id, { name: 'stubdomain' })
      .map(world.foreignRequest([HOLE], { at: 3, errors: new Int32Array(1) }))
    world.write(3, 1)
    expect(() => model.destroy()).toThrow(touched)
    expect(model.state).toBe('destroyed')
    expect(world.hypervisor.accounting.touchedPages()).toMatchObject([
      { device: 'stubdomain', mapper: model.id },
    ])
  })

  test('is found where every frame of the request failed, and more than one was touched', () => {
    using world = new World()
    world.mapFrames([HOLE, HOLE - 1], { at: 9 })
    world.write(9, 1)
    world.write(10, 1)
    expect(() => world.unmapForeign(9, 2)).toThrow(/^window page 9, .*\(and 1 more\) was stored to/)
  })

  test('is found for a page that an injected fault made fail', () => {
    using world = new World()
    world.hypervisor.faults.fail({ site: 'foreign.map', errno: 'ENOMEM', pages: [1] })
    expect(world.mapFrames([RAM, RAM + 1])).toEqual([0, 12])
    world.write(1, 1)
    expect(() => world.unmapForeign(0, 2)).toThrow(
      expect.objectContaining({ pages: [expect.objectContaining({ errno: 12, frame: RAM + 1 })] }),
    )
  })
})

describe('what is not such a store, or is not found yet', () => {
  test('a load of it, and a store beside it', () => {
    using world = new World()
    world.mapFrames([RAM, HOLE, RAM + 1], { at: 5 })
    expect(world.read(6)).toBe(0)
    world.write(5, 1)
    world.write(7, 1)
    world.write(8, 1)
    world.unmapForeign(5, 3)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('a store once something else is in its place', () => {
    using world = new World()
    world.mapFrames([RAM, HOLE], { at: 5 })
    world.mapFrames([RAM + 1], { at: 6 })
    world.write(6, 1)
    world.unmapForeign(5, 2)
    world.write(6, 1)
    world.mapFrames([HOLE], { at: 6 })
    world.mapReferences(world.share([RAM + 3]), { at: 6 })
    world.write(6, 1)
    world.unmapGrants(6, 1)
    world.foreign.close()
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('a store before an unmap that was refused is found by the next one', () => {
    using world = new World()
    touchHole(world)
    world.hypervisor.faults.fail({ site: 'foreign.unmap', errno: 'ENOMEM' })
    expect(() => world.unmapForeign(5, 3)).toThrow(expect.objectContaining({ errnoName: 'ENOMEM' }))
    expect(() => world.unmapForeign(5, 3)).toThrow(touched)
  })

  test('a store after a request that threw: nothing was mapped, so nothing failed', () => {
    using world = new World()
    expect(() => world.mapFrames([HOLE], { at: 5, errors: null })).toThrow(
      expect.objectContaining({ errnoName: 'EINVAL' }),
    )
    world.write(5, 1)
    world.unmapForeign(5, 1)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('a store in a window that was closed before its device: its pages are zeros again', () => {
    using world = new World()
    touchHole(world)
    world.window.close()
    world.foreign.close()
    expect(world.hypervisor.accounting.touchedPages()).toEqual([])
  })
})
