import { setImmediate as laterTurn } from 'node:timers/promises'
import {
  domainId,
  GRANT_STATUS,
  type GrantReference,
  grantReference,
  guestFrame,
  type Pages,
  splitGrantAddress,
  windowPage,
} from '@xmc/interface'
import { type ForeignDevice, GRANT_MAP_FLAGS, type GrantDevice, GrantDma } from '@xmc/sim'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { GrantWorld } from '../helpers/grant-world.ts'
import { contents } from '../helpers/guest-contents.ts'
import { World } from '../helpers/world.ts'

const CONTROL = domainId(0)

/** In the control domain's address space, where no device maps. */
const FREE_ADDRESS = 2 ** 45

const EINVAL = failure('ERR_XMC_SYSTEM_CALL', { errnoName: 'EINVAL' })

/** A request to a grant device, at page 0 of the window. */
function grantRequest(
  world: GrantWorld,
  references: Pages<GrantReference>,
): Parameters<GrantDevice['map']>[0] {
  return {
    domain: world.guest.id,
    window: world.window,
    windowPage: windowPage(0),
    references,
    writable: false,
  }
}

/** Maps a reference for the control domain at the hypervisor itself; gives the status. */
function hypercall(world: GrantWorld, reference: number, writable: boolean): number {
  return world.hypervisor.grantTables.map({
    mapper: CONTROL,
    granter: world.guest.id,
    reference: grantReference(reference),
    flags: GRANT_MAP_FLAGS.host_map | (writable ? 0 : GRANT_MAP_FLAGS.readonly),
    address: FREE_ADDRESS,
  }).status
}

describe('the guest', () => {
  it('S77 grants a buffer over a page border with two read-only references', () => {
    using world = new GrantWorld({ references: 0 })
    world.populate(0x40000, 4)
    const driver = new GrantDma(world.guest.grants, CONTROL)
    const address = driver.mapPages({
      frame: guestFrame(0x40000),
      offset: 0x1f80,
      length: 0x200,
      direction: 'to-device',
    })
    expect(address).toBe((1n << 63n) | (8n << 12n) | 0xf80n)
    expect(splitGrantAddress(address)).toEqual({ reference: 8, offset: 0xf80 })
    const mapping = world.map(address, 0x200)
    expect(world.calls()).toEqual(['gm[8,9]r'])
    expect(mapping.copy()).toEqual(contents(0x40001f80, 0x200))
    expect(() => world.map(address, 0x200, { write: true })).toThrow(failure('ERR_XMC_GRANT_MAP'))
    mapping.release()
    expect(driver.unmap(address)).toBe(true)
  })

  it('S78 takes a grant back that is still mapped: the device is broken for ever', () => {
    using world = new GrantWorld({ references: 0 })
    world.populate(0x40000, 4)
    const driver = new GrantDma(world.guest.grants, CONTROL)
    const buffer = { frame: guestFrame(0x40000), offset: 0, length: 0x1000 }
    const address = driver.mapPages({ ...buffer, direction: 'bidirectional' })
    const mapping = world.map(address, 0x1000)
    expect(driver.unmap(address)).toBe(false)
    expect(driver.broken).toBe(true)
    mapping.release()
    const broken = failure('ERR_XMC_GRANT_DMA_BROKEN', { reference: 8 })
    expect(() => driver.mapPages({ ...buffer, direction: 'to-device' })).toThrow(broken)
    expect(() => driver.allocateCoherent(guestFrame(0x40001), 1)).toThrow(broken)
  })
})

describe('the grant table', () => {
  it('S79 of 64 frames and version 1 has references up to 32767', () => {
    using world = new GrantWorld({ grantTableFrames: 64 })
    world.guest.grants.allow(32_767, { to: 0, frame: 0x40000 })
    const mapping = world.cache.map(grantReference(32_767), 0, 16)
    expect(mapping.copy()).toEqual(contents(0x40000000, 16))
    mapping.release()
    expect(hypercall(world, 32_768, false)).toBe(-3)
    expect(() => world.cache.map(grantReference(32_768), 0, 16)).toThrow(
      failure('ERR_XMC_GRANT_MAP', { failedReference: 32_768, statusName: 'GNTST_bad_gntref' }),
    )
    const { grantTables } = world.hypervisor
    expect(grantTables.grow(world.guest.id, 65)).toBe(GRANT_STATUS.general_error)
    // ENOSYS, as from Xen under max-ver:1, its default on Arm.
    expect(grantTables.setVersion(world.guest.id, 2)).toBe(-38)
  })

  it('S80 allows 128 read-only mappings of one reference, and a writable one besides', () => {
    using world = new GrantWorld()
    for (let nth = 0; nth < 128; nth++) expect(hypercall(world, 7, false)).toBe(0)
    expect(hypercall(world, 7, false)).toBe(-1)
    expect(hypercall(world, 7, true)).toBe(0)
    expect(world.hypervisor.grantTables.releaseMapper(CONTROL)).toBe(129)
  })

  it('S80 allows a cache 128 mappings of one reference, and the cache names the limit', () => {
    using world = new GrantWorld()
    const seven = [grantReference(7)]
    for (let nth = 0; nth < 128; nth++) world.cache.mapList(seven)
    expect(() => world.cache.mapList(seven)).toThrow(
      failure('ERR_XMC_GRANT_LIMIT', {
        limitName: 'mappings-per-reference',
        limit: 128,
        reference: 7,
      }),
    )
    expect(world.pins(7)).toEqual({ reads: 128, writes: 0 })
    world.cache.mapList(seven, { write: true }).writeUint8(0, 0x5a)
    expect(world.guestBytes(0x40007000, 1)).toEqual(Uint8Array.of(0x5a))
  })

  it('S81 looks at the guest’s flags again when an entry is mapped writable', () => {
    using world = new GrantWorld()
    world.map(0x8000_0000_0000_7000n, 16)
    world.map(0x8000_0000_0000_9000n, 16)
    expect(hypercall(world, 7, true)).toBe(0)
    expect(hypercall(world, 9, true)).toBe(-1)
    expect(() => world.map(0x8000_0000_0000_9000n, 16, { write: true })).toThrow(
      failure('ERR_XMC_GRANT_MAP'),
    )
    expect(world.map(0x8000_0000_0000_7000n, 16, { write: true }).writable).toBe(true)
    // The one that was mapped past the cache.
    const { grantTables } = world.hypervisor
    const own = [...grantTables.mappings()].find(({ address }) => address === FREE_ADDRESS)
    const unmap = { mapper: CONTROL, handle: own?.handle ?? -1, address: FREE_ADDRESS }
    expect(grantTables.unmap(unmap)).toBe(GRANT_STATUS.okay)
  })
})

describe('the library', () => {
  it('S82 maps 1 to 65536 references at once', () => {
    using world = new GrantWorld({ windowPages: 65_537, grantTableFrames: 64 })
    const device = world.hypervisor.grantTable()
    const first = grantReference(0)
    expect(() => device.map(grantRequest(world, { first, count: 65_537 }))).toThrow(EINVAL)
    expect(() => device.map(grantRequest(world, { first, count: 0 }))).toThrow(EINVAL)
    expect(() => device.map(grantRequest(world, []))).toThrow(EINVAL)
    const sevens = Array.from({ length: 65_537 }, () => grantReference(7))
    world.calls()
    expect(() => world.cache.mapList(sevens)).toThrow(
      failure('ERR_XMC_GRANT_LIMIT', { limitName: 'references-per-map', value: 65_537 }),
    )
    expect(() => world.cache.mapList([])).toThrow(failure('ERR_XMC_ARGUMENT'))
    expect(world.calls()).toEqual([])
    expect(world.mapped()).toEqual([])
  })

  it('S83 unmaps a mapping as it was made, and in no other way', () => {
    using world = new GrantWorld()
    const device = world.hypervisor.grantTable()
    device.map(grantRequest(world, { first: grantReference(7), count: 2 }))
    const unmap = (page: number, count: number): void =>
      device.unmap(world.window, windowPage(page), count)
    expect(() => unmap(0, 1)).toThrow(EINVAL)
    expect(() => unmap(1, 1)).toThrow(EINVAL)
    expect(() => unmap(1, 2)).toThrow(EINVAL)
    // Where nothing is mapped, as with a null pointer.
    expect(() => unmap(100, 2)).toThrow(EINVAL)
    expect(world.mapped()).toEqual(['[7,8]r'])
    const pointer = { windowPage: windowPage(0), offset: 0 }
    expect(world.bytesAt(pointer, 0x2000)).toEqual(contents(0x40007000, 0x2000))
    unmap(0, 2)
    expect(world.mapped()).toEqual([])
    expect(() => unmap(0, 2)).toThrow(EINVAL)
  })

  it('S84 keeps the pin of a page that was only taken out of the window, until it is closed', () => {
    using world = new GrantWorld()
    const device = world.hypervisor.grantTable()
    device.map(grantRequest(world, { first: grantReference(7), count: 1 }))
    world.window.reset(windowPage(0), 1)
    expect(world.bytesAt({ windowPage: windowPage(0), offset: 0 }, 8)).toEqual(new Uint8Array(8))
    expect(world.pins(7)).toEqual({ reads: 1, writes: 0 })
    expect(world.guest.grants.end(grantReference(7))).toBe(false)
    device.close()
    expect(world.pins(7)).toEqual({ reads: 0, writes: 0 })
    expect(world.guest.grants.end(grantReference(7))).toBe(true)
  })

  it('S85 waits for a reference whose page is paged out, and does not report it', async () => {
    using world = new GrantWorld({ hypervisor: { pagingRetry: { intervalMilliseconds: 0 } } })
    world.guest.pageOut(0x40008)
    const mapped = world.cache.mapAsync(grantReference(7), 0, 0x2000)
    while (world.hypervisor.faults.calls('grant.map') < 3) await laterTurn()
    world.guest.pageIn(0x40008)
    const mapping = await mapped
    expect(mapping.copy()).toEqual(contents(0x40007000, 0x2000))
    const calls = world.calls()
    expect(calls.length).toBeGreaterThanOrEqual(4)
    expect(new Set(calls.slice(0, -1))).toEqual(new Set(['gm[7,8]r EAGAIN']))
    expect(calls.at(-1)).toBe('gm[7,8]r')
  })

  it('S85 reports a paged-out page under its own name in the synchronous form, which tries once', () => {
    using world = new GrantWorld()
    world.guest.pageOut(0x40008)
    expect(() => world.cache.map(grantReference(7), 0, 0x2000)).toThrow(
      failure('ERR_XMC_PAGED_OUT'),
    )
    expect(world.mapped()).toEqual([])
  })

  it('S86 maps frames around a hole when it may report errors, else nothing', () => {
    using world = new World()
    world.populate(0x100, 1)
    world.populate(0x102, 1)
    using device = world.hypervisor.foreignMemory()
    const request = (errors: Int32Array | undefined): Parameters<ForeignDevice['map']>[0] => ({
      domain: world.guest.id,
      window: world.window,
      windowPage: windowPage(0),
      frames: [0x100, 0x101, 0x102].map((frame) => guestFrame(frame)),
      writable: true,
      errors,
    })
    const errors = new Int32Array(3)
    device.map(request(errors))
    expect([...errors]).toEqual([0, 22, 0])
    const page = (nth: number): Uint8Array =>
      world.bytesAt({ windowPage: windowPage(nth), offset: 0 }, 4096)
    expect(page(0)).toEqual(contents(0x100000, 4096))
    expect(page(1)).toEqual(new Uint8Array(4096))
    expect(page(2)).toEqual(contents(0x102000, 4096))
    device.unmap(world.window, windowPage(0), 3)
    expect(() => device.map(request(undefined))).toThrow(EINVAL)
    expect(world.mapped()).toEqual([])
    expect([0, 1, 2].map((nth) => page(nth))).toEqual(
      Array.from({ length: 3 }, () => new Uint8Array(4096)),
    )
  })
})
