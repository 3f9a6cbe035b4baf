import type { Mapping } from '@xmc/core'
import { GrantCopyError } from '@xmc/grants'
import {
  domainId,
  type GrantReference,
  grantAddress,
  grantReference,
  guestFrame,
  splitGrantAddress,
} from '@xmc/interface'
import { GrantDma } from '@xmc/sim'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { ForeignWorld } from '../helpers/foreign-world.ts'
import { GrantWorld } from '../helpers/grant-world.ts'
import { contents } from '../helpers/guest-contents.ts'

/**
 * Where the region of grants starts in the scenarios. Whoever owns the address map subtracts it before
 * a cache is asked, so the addresses of a cache start at 0.
 */
const REGION = 0x8000_0000n

/** The mappings of S47 to S50, in the order in which they are made. */
function fourMappings(world: GrantWorld): Mapping<GrantReference>[] {
  return [
    world.map(0x8000_0000_0000_7123n, 100),
    world.map(0x8000_0000_0000_7ff0n, 0x2020),
    world.map(0x8000_0000_0000_7200n, 16),
    world.map(0x8000_0000_0000_7200n, 16, { write: true }),
  ]
}

/** All orders of four things. */
function orders(): number[][] {
  const all = [0, 1, 2, 3]
  return all.flatMap((a) =>
    all
      .filter((b) => b !== a)
      .flatMap((b) =>
        all
          .filter((c) => c !== a && c !== b)
          .map((c) => [a, b, c, ...all.filter((d) => ![a, b, c].includes(d))]),
      ),
  )
}

describe('grants', () => {
  it('S47 a read of 100 bytes maps one reference read-only', () => {
    using world = new GrantWorld()
    const mapping = world.map(0x8000_0000_0000_7123n, 100)
    expect(world.calls()).toEqual(['gm[7]r'])
    expect(mapping.pointer().offset).toBe(0x123)
    expect(REGION + mapping.address).toBe(0x8000_7123n)
    expect(grantAddress(mapping.page, 0x123)).toBe(0x8000_0000_0000_7123n)
    expect(mapping.copy()).toEqual(contents(0x40007123, 100))
    expect(() => mapping.writeUint8(0, 1)).toThrow(failure('ERR_XMC_READ_ONLY'))
  })

  it('S48 a read over four pages maps four consecutive references in one piece', () => {
    using world = new GrantWorld()
    const mapping = world.map(0x8000_0000_0000_7ff0n, 0x2020)
    expect(world.calls()).toEqual(['gm[7,8,9,10]r'])
    expect(mapping.pointer().offset).toBe(0xff0)
    expect(mapping.copy()).toEqual(contents(0x40007ff0, 0x2020))
  })

  it('S49 a further read of a mapped reference makes no call', () => {
    using world = new GrantWorld()
    const first = world.map(0x8000_0000_0000_7123n, 100)
    world.calls()
    const second = world.map(0x8000_0000_0000_7200n, 16)
    expect(world.calls()).toEqual([])
    expect(second.pointer()).toEqual({ ...first.pointer(), offset: 0x200 })
    expect(world.cache.statistics).toMatchObject({ locks: 2, entries: 1 })
    expect(second.copy()).toEqual(contents(0x40007200, 16))
  })

  it('S50 a write maps the reference anew, and leaves the read-only mapping alone', () => {
    using world = new GrantWorld()
    const first = world.map(0x8000_0000_0000_7123n, 100)
    const second = world.map(0x8000_0000_0000_7200n, 16)
    world.calls()
    const write = world.map(0x8000_0000_0000_7200n, 16, { write: true })
    expect(world.calls()).toEqual(['gm[7]rw'])
    expect(write.pointer().windowPage).not.toBe(first.pointer().windowPage)
    expect(world.mapped()).toEqual(['[7]r', '[7]rw'])
    expect(world.pins(7)).toEqual({ reads: 1, writes: 1 })
    write.writeUint8(0, 0x5a)
    expect(world.guestBytes(0x40007200, 1)).toEqual(Uint8Array.of(0x5a))
    expect(second.readUint8(0)).toBe(0x5a)
    expect(first.copy()).toEqual(contents(0x40007123, 100))
    expect(REGION + write.address).toBe(0x8000_7200n)
  })

  it('S51 a writable mapping serves a read; a read-only one never serves a write', () => {
    using world = new GrantWorld()
    const write = world.map(0x8000_0000_0000_7000n, 16, { write: true })
    world.calls()
    const read = world.map(0x8000_0000_0000_7100n, 16)
    expect(world.calls()).toEqual([])
    expect(read.pointer()).toEqual({ ...write.pointer(), offset: 0x100 })
    expect(() => read.writeUint8(0, 1)).toThrow(failure('ERR_XMC_READ_ONLY'))
    write.release()
    read.release()
    world.calls()
    world.map(0x8000_0000_0000_7000n, 16)
    world.map(0x8000_0000_0000_7000n, 16, { write: true })
    expect(world.calls()).toEqual(['gm[7]r', 'gm[7]rw'])
  })

  it.each(orders())(
    'S52 released in the order %i %i %i %i, each mapping is unmapped once, as it was made',
    (...order) => {
      using world = new GrantWorld()
      const mappings = fourMappings(world)
      const pages = mappings.map((mapping) => mapping.pointer().windowPage)
      const [small, large, , write] = pages
      world.hypervisor.accounting.log.length = 0
      const live = new Set([0, 1, 2, 3])
      const expected: object[] = []
      for (const nth of order) {
        mappings[nth]?.release()
        live.delete(nth)
        if (nth === 1) expected.push({ windowPage: large, pageCount: 4 })
        else if (nth === 3) expected.push({ windowPage: write, pageCount: 1 })
        else if (!live.has(0) && !live.has(2)) expected.push({ windowPage: small, pageCount: 1 })
      }
      const { log } = world.hypervisor.accounting
      expect(log.map(({ windowPage, pageCount }) => ({ windowPage, pageCount }))).toEqual(expected)
      expect(expected).toHaveLength(3)
      expect(log.every(({ site, errno }) => site === 'grant.unmap' && errno === 0)).toBe(true)
      expect(world.mapped()).toEqual([])
      expect(world.hypervisor.accounting.pins()).toEqual([])
    },
  )

  it('S53 an access that does not map goes by grant copy', () => {
    using world = new GrantWorld()
    const seven = splitGrantAddress(0x8000_0000_0000_7000n).reference
    expect(world.cache.loadUint32(seven, 0x10)).toBe(
      new DataView(contents(0x40007010, 4).slice().buffer).getUint32(0, true),
    )
    world.cache.storeUint32(seven, 0x20, 0x1234_5678)
    expect(world.guestBytes(0x40007020, 4)).toEqual(Uint8Array.of(0x78, 0x56, 0x34, 0x12))
    const bytes = new Uint8Array(0x20)
    world.cache.read(seven, 0xff0, bytes)
    expect(bytes).toEqual(contents(0x40007ff0, 0x20))
    world.cache.write(seven, 0xff0, new Uint8Array(0x20).fill(0x5a))
    expect(world.guestBytes(0x40007ff0, 0x20)).toEqual(new Uint8Array(0x20).fill(0x5a))
    expect(world.calls()).toEqual(['gc(1)', 'gc(1)', 'gc(1)', 'gc(1)', 'gc(1)', 'gc(1)'])
    expect(world.mapped()).toEqual([])
  })

  it('S53 an access that is refused fails alone', () => {
    using world = new GrantWorld()
    const bad = grantReference(64)
    expect(() => world.cache.loadUint8(bad, 0)).toThrow(
      failure('ERR_XMC_GRANT_COPY', { reference: 64, statusName: 'GNTST_general_error' }),
    )
    expect(() => world.cache.storeUint8(grantReference(9), 0, 1)).toThrow(GrantCopyError)
    expect(world.guestBytes(0x40009000, 1)).toEqual(contents(0x40009000, 1))
    expect(world.cache.loadUint8(grantReference(9), 7)).toBe(contents(0x40009007, 1)[0])
  })

  it('S54 a reference that grants nothing: an error that names it, and nothing else', () => {
    using world = new GrantWorld()
    expect(() => world.map(0x8000_0000_0004_0000n, 16)).toThrow(
      failure('ERR_XMC_GRANT_MAP', {
        errnoName: 'EINVAL',
        failedReference: 64,
        statusName: 'GNTST_general_error',
      }),
    )
    // The copy asks for the reason.
    expect(world.calls()).toEqual(['gm[64]r EINVAL', 'gc(1) 1 bad'])
    expect(world.mapped()).toEqual([])
    expect(world.hypervisor.accounting.pins()).toEqual([])
    expect(world.cache.statistics).toMatchObject({ entries: 0, locks: 0, mappedPages: 0 })
    expect(world.notified()).toEqual([])
    expect(world.map(0x8000_0000_0000_7000n, 16).copy()).toEqual(contents(0x40007000, 16))
  })

  it('S55 one bad reference of two: nothing stays mapped', () => {
    using world = new GrantWorld()
    expect(() => world.map(0x8000_0000_0003_f000n, 0x2000)).toThrow(
      failure('ERR_XMC_GRANT_MAP', { referenceCount: 2, failedReference: 64 }),
    )
    expect(world.calls()).toEqual(['gm[63,64]r EINVAL', 'gc(2) 1 bad'])
    expect(world.mapped()).toEqual([])
    expect(world.hypervisor.accounting.pins()).toEqual([])
    expect(world.cache.statistics).toMatchObject({ entries: 0, locks: 0, mappedPages: 0 })
    expect(world.map(0x8000_0000_0003_f000n, 0x1000).copy()).toEqual(contents(0x4003f000, 4096))
  })

  it('S56 a read-only grant is refused for writing and mapped for reading', () => {
    using world = new GrantWorld()
    expect(() => world.map(0x8000_0000_0000_9000n, 16, { write: true })).toThrow(
      failure('ERR_XMC_GRANT_MAP', {
        errnoName: 'EINVAL',
        writable: true,
        reason: expect.stringContaining('a grant is read-only'),
      }),
    )
    expect(world.calls()).toEqual(['gm[9]rw EINVAL', 'gc(1)'])
    expect(world.mapped()).toEqual([])
    expect(world.hypervisor.accounting.pins()).toEqual([])
    expect(world.map(0x8000_0000_0000_9000n, 16).copy()).toEqual(contents(0x40009000, 16))
    expect(world.calls()).toEqual(['gm[9]r'])
  })

  it('S57 maps of one and of two pages from one reference are two mappings', () => {
    using world = new GrantWorld()
    const one = world.map(0x8000_0000_0000_7000n, 0x1000)
    const two = world.map(0x8000_0000_0000_7000n, 0x2000)
    expect(world.calls()).toEqual(['gm[7]r', 'gm[7,8]r'])
    expect(world.mapped()).toEqual(['[7]r', '[7,8]r'])
    expect(world.pins(7)).toEqual({ reads: 2, writes: 0 })
    one.release()
    expect(world.pins(7)).toEqual({ reads: 1, writes: 0 })
    expect(two.copy()).toEqual(contents(0x40007000, 0x2000))
    two.release()
    expect(world.calls()).toEqual(['gu(1)', 'gu(2)'])
  })

  it('S58 the reference reaches the backend, whatever the region’s offset', () => {
    using world = new GrantWorld()
    // Of the DMA address the region sees the offset in it, of which the reference is the page number.
    const { reference, offset } = splitGrantAddress(0x8000_0000_0000_7000n)
    expect({ reference, offset }).toEqual({ reference: 7, offset: 0 })
    const mapping = world.cache.mapAddress(0x6000_7000n - 0x6000_0000n, 16)
    expect(world.calls()).toEqual(['gm[7]r'])
    expect(0x6000_0000n + mapping.address).toBe(0x6000_7000n)
    expect(0x6000_0000n + world.cache.addressOf(mapping)).toBe(0x6000_7000n)
    expect(mapping.copy()).toEqual(contents(0x40007000, 16))
  })

  it('S58 below the region nothing looks at bit 63', () => {
    using world = new GrantWorld()
    using foreign = new ForeignWorld()
    expect(() => world.cache.mapAddress(0x8000_0000_0000_7000n, 16)).toThrow(
      failure('ERR_XMC_ARGUMENT', { field: 'grant reference', received: 0x8_0000_0000_0007 }),
    )
    expect(world.calls()).toEqual([])
    // To the cache of foreign memory it is a bit of the frame number as any other.
    foreign.guest.populate(0x8_0000_0000_0007)
    const mapping = foreign.cache.mapAddress(0x8000_0000_0000_7000n, 16, { write: true })
    expect(foreign.calls()).toEqual(['fm(0x8000000000000,256) 255 bad'])
    expect(mapping.address).toBe(0x8000_0000_0000_7000n)
  })

  it('S59 references 8388608 apart are two mappings', () => {
    const frames = 16_385
    using world = new GrantWorld({
      hypervisor: { maximumGrantFrames: frames },
      grantTableFrames: frames,
    })
    const far = 7 + 8_388_608
    world.guest.grants.allow(far, { to: 0, frame: 0x40020 })
    const near = world.map(0x8000_0000_0000_7000n, 16)
    const other = world.map(0x8000_0008_0000_7000n, 16)
    expect(world.calls()).toEqual(['gm[7]r', 'gm[8388615]r'])
    expect(world.mapped()).toEqual(['[7]r', '[8388615]r'])
    expect([near.page, other.page]).toEqual([7, 8_388_615])
    expect(near.copy()).toEqual(contents(0x40007000, 16))
    expect(other.copy()).toEqual(contents(0x40020000, 16))
    near.release()
    expect(world.mapped()).toEqual(['[8388615]r'])
    expect(other.copy()).toEqual(contents(0x40020000, 16))
    other.release()
    expect(world.calls()).toEqual(['gu(1)', 'gu(1)'])
  })

  it('S60 a failed unmap is reported, and its place is not used again until it is unmapped', () => {
    using world = new GrantWorld({ windowPages: 4 })
    const lost = world.map(0x8000_0000_0000_7000n, 16)
    const { windowPage } = lost.pointer()
    world.hypervisor.faults.fail({ site: 'grant.unmap', errno: 'EINVAL' })
    expect(() => lost.release()).toThrow(
      failure('ERR_XMC_UNMAP_FAILED', {
        windowPage,
        pageCount: 1,
        cause: failure('ERR_XMC_GRANT_UNMAP', { references: [7], errnoName: 'EINVAL' }),
      }),
    )
    expect(world.mapped()).toEqual(['[7]r'])
    expect(world.pins(7)).toEqual({ reads: 1, writes: 0 })
    expect(world.cache.statistics).toMatchObject({ lostPages: 1, locks: 0, unmapFailures: 1 })
    const used = new Set<number>()
    for (let round = 0; round < 8; round++) {
      const mapping = world.map(0x8000_0000_0000_8000n, 16)
      used.add(mapping.pointer().windowPage)
      expect(mapping.copy()).toEqual(contents(0x40008000, 16))
      mapping.release()
    }
    expect(used).not.toContain(windowPage)
    const three = [0x10, 0x11, 0x12].map((page) => world.map((1n << 63n) | BigInt(page << 12), 16))
    expect(three.map((mapping) => mapping.pointer().windowPage)).not.toContain(windowPage)
    world.hypervisor.faults.fail({ site: 'grant.unmap', errno: 'EINVAL' })
    expect(() => world.map(0x8000_0000_0001_3000n, 16)).toThrow(
      failure('ERR_XMC_WINDOW_FULL', { lockedPages: 3, lostPages: 1, shortage: 'passing' }),
    )
    // Before the window counts as full, the cache tries once more.
    const fourth = world.map(0x8000_0000_0001_3000n, 16)
    expect(fourth.pointer().windowPage).toBe(windowPage)
    expect(world.pins(7)).toEqual({ reads: 0, writes: 0 })
    fourth.release()
    for (const mapping of three) mapping.release()
    world.cache.close()
    expect(world.mapped()).toEqual([])
    expect(world.pins(7)).toEqual({ reads: 0, writes: 0 })
  })

  it('S61 no grant is mapped that nobody has locked, after every release', () => {
    using world = new GrantWorld()
    const mappings = Array.from({ length: 32 }, (_, nth) => {
      const address = grantAddress(grantReference(10 + nth))
      return [
        world.map(address, ((nth % 4) + 1) * 4096),
        world.map(address, 16),
        world.map(address, 16, { write: true }),
      ]
    }).flat()
    for (let nth = 0; nth < 96; nth++) {
      // An order that is neither that of mapping nor its reverse.
      mappings[(nth * 37) % 96]?.release()
      const { entries, lockedEntries, locks } = world.cache.statistics
      expect(locks).toBe(95 - nth)
      expect(entries).toBe(lockedEntries)
      expect(world.mapped()).toHaveLength(lockedEntries)
    }
    expect(world.mapped()).toEqual([])
    expect(world.hypervisor.accounting.pins()).toEqual([])
  })

  it.each(['release', 'releaseAsync'] as const)(
    'S62 after %s, and before the guest sees the completion, the grant is given back',
    async (way) => {
      using world = new GrantWorld({ references: 0 })
      world.populate(0x40000, 2)
      const driver = new GrantDma(world.guest.grants, domainId(0))
      const address = driver.mapPages({
        frame: guestFrame(0x40000),
        offset: 0x100,
        length: 0x1000,
        direction: 'from-device',
      })
      const mapping = world.map(address, 0x1000, { write: true, dma: true })
      mapping.write(0, new Uint8Array(0x1000).fill(0x5a))
      await mapping[way]()
      expect(world.calls()).toEqual(['gm[8,9]rw', 'gu(2)'])
      // Now the used index may be published: the driver takes its buffer back.
      expect(driver.unmap(address)).toBe(true)
      expect(driver.broken).toBe(false)
      expect(world.guestBytes(0x40000100, 0x1000)).toEqual(new Uint8Array(0x1000).fill(0x5a))
    },
  )
})
