import { domainId, type GrantCopySegment, grantReference, windowPage } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import { GRANT_FLAGS } from '../src/index.ts'
import { errnoOf, RAM, rejectedErrno, World } from './helpers/world.ts'

const DOMID_SELF = 0x7ff0

function segment(
  reference: number,
  offset: number,
  bytes: Uint8Array,
  direction: GrantCopySegment['direction'],
  domain = 1,
): GrantCopySegment {
  return {
    domain: domainId(domain),
    reference: grantReference(reference),
    offset,
    bytes,
    direction,
  }
}

describe('aliasing', () => {
  test('a granted page is shared both ways; scattered references follow each other', () => {
    using world = new World()
    const [a = 0, b = 0, c = 0] = world.share([RAM + 4, RAM + 9, RAM + 2])
    world.guestWrite(RAM + 4, 4)
    world.guestWrite(RAM + 2, 2)
    world.mapReferences([c, a, b, c], { at: 7 })
    expect([7, 8, 9, 10].map((page) => world.read(page))).toEqual([2, 4, 0, 2])
    world.write(9, 0x99)
    expect(world.guestRead(RAM + 9)).toBe(0x99)
    world.write(7, 0x77)
    expect(world.read(10)).toBe(0x77)
    world.unmapGrants(7, 4)
    expect(world.read(7)).toBe(0)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('consecutive pages under consecutive references are one call at the window', () => {
    using world = new World()
    const references = world.share({ first: RAM, count: 16 })
    const calls = () => world.hypervisor.faults.calls('window.map')
    const before = calls()
    world.mapReferences({ first: references[0] ?? 0, count: 16 })
    expect(calls() - before).toBe(1)
  })

  test('a map of 1,000 scattered references is one call at the port', () => {
    using world = new World({ recordCalls: true })
    const references = world.share({ first: RAM, count: 1000 }).toReversed()
    world.mapReferences(references)
    expect(world.hypervisor.accounting.log).toEqual([
      expect.objectContaining({ site: 'grant.map', pages: references, pageCount: 1000, errno: 0 }),
    ])
    world.unmapGrants(0, 1000)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })
})

function refusals() {
  const world = new World()
  const { grants } = world.guest
  grants.allow(20, { to: 0, frame: RAM })
  grants.allow(21, { to: 0, frame: RAM + 1, readonly: true })
  grants.allow(22, { to: 2, frame: RAM + 2 })
  grants.allow(23, { to: 0, frame: RAM - 1 })
  world.hypervisor.createDomain({ id: 2, memoryBytes: 4096 })
  return world
}

describe('what real Xen was seen to refuse, all EINVAL, with nothing left mapped', () => {
  test.each([
    ['an unused reference', [30], true, 1],
    ['a reference beyond the table', [512], true, 1],
    ['a reference of 32 bits', [0xffff_ffff], true, 1],
    ['a reference of a domain that did not grant', [20], true, 2],
    ['no such domain', [20], true, 9],
    ['DOMID_SELF', [20], true, DOMID_SELF],
    ['a grant for somebody else', [22], true, 1],
    ['a read-only grant mapped writable', [21], true, 1],
    ['a granted hole', [23], true, 1],
    ['one bad in a batch', [20, 20, 30], true, 1],
    ['one bad in a batch, first', [30, 20], false, 1],
    ['no references', [], true, 1],
  ])('%s', (_, references, writable, domain) => {
    using world = refusals()
    world.write(4, 0xeeeeeeee)
    const map = () => world.mapReferences(references, { at: 4, writable, domain })
    expect(errnoOf(map)).toBe('EINVAL')
    expect(world.read(4)).toBe(references.length === 0 ? 0xeeeeeeee : 0)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
    expect(world.guest.grants.entry(20).flags).toBe(GRANT_FLAGS.permit_access)
  })

  test('the message does not tell which reference it was', () => {
    using world = refusals()
    expect(() => world.mapReferences([20, 30])).toThrow(/2 references of domain 1.*does not say/)
  })

  test('S82 65,537 references are refused, 65,536 are gntdev’s limit', () => {
    using world = new World()
    const big = world.hypervisor.createDomain({ memoryBytes: 4096 })
    const reference = big.grants.share([0x40000], { to: 0 })[0] ?? 0
    const window = {
      buffer: new ArrayBuffer(0),
      byteOffset: 0,
      pageCount: 70_000,
      hostAddress: 0,
      map: () => {},
      reset: () => {},
    }
    const map = (count: number) => () =>
      world.grants.map({
        ...world.grantRequest(Array(count).fill(reference), { domain: 2, writable: false }),
        window,
      })
    expect(errnoOf(map(65_537))).toBe('EINVAL')
    // Within gntdev's limit it is Xen that refuses: 129 mappings of one reference.
    expect(errnoOf(map(129))).toBe('EINVAL')
    expect(errnoOf(map(128))).toBe('none')
    expect(errnoOf(map(0))).toBe('EINVAL')
  })

  test('S80 the 129th read-only map of a reference is refused, a writable one still succeeds', () => {
    using world = new World()
    const [reference = 0] = world.share([RAM])
    for (let page = 0; page < 128; page++) {
      world.mapReferences([reference], { at: page, writable: false })
    }
    const more = () => world.mapReferences([reference], { at: 200, writable: false })
    expect(errnoOf(more)).toBe('EINVAL')
    world.mapReferences([reference], { at: 201, writable: true })
    expect(world.guest.grants.pins(reference)).toMatchObject({ hostRead: 128, hostWrite: 1 })
  })

  test('S79 a table of 64 frames: reference 32767 maps, 32768 does not', () => {
    using world = new World()
    world.guest.grants.grow(64)
    world.guest.grants.allow(32767, { to: 0, frame: RAM })
    world.mapReferences([32767])
    expect(errnoOf(() => world.mapReferences([32768], { at: 1 }))).toBe('EINVAL')
    expect(() => world.guest.grants.grow(65)).toThrow(
      expect.objectContaining({ errnoName: 'ENOSPC' }),
    )
  })

  test('S81 a pinned read-only entry whose guest flag is read-write maps writable; with the flag read-only it does not', () => {
    using world = new World()
    const [open = 0, closed = 0] = world.share([RAM, RAM + 1])
    world.mapReferences([open], { at: 0, writable: false })
    world.mapReferences([open], { at: 1, writable: true })
    world.guest.grants.allow(closed, { to: 0, frame: RAM + 1, readonly: true })
    world.mapReferences([closed], { at: 2, writable: false })
    expect(errnoOf(() => world.mapReferences([closed], { at: 3, writable: true }))).toBe('EINVAL')
  })

  test('map-track exhausted: EINVAL, and the batch leaves no entry behind', () => {
    using world = new World({ maximumMaptrackFrames: 1 })
    const references = world.share({ first: RAM, count: 256 })
    expect(errnoOf(() => world.mapReferences(references))).toBe('EINVAL')
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
    world.mapReferences(references.slice(0, 255))
    expect(errnoOf(() => world.mapReferences([references[255] ?? 0], { at: 300 }))).toBe('EINVAL')
    world.unmapGrants(0, 255)
    world.mapReferences([references[255] ?? 0])
    expect(world.hypervisor.accounting.totals().pinnedGrants).toBe(1)
  })
})

describe('unmap', () => {
  test('S83 another count, another start, or a second time: EINVAL, and the mapping stays', () => {
    using world = new World()
    world.guestWrite(RAM + 1, 0x51)
    world.mapReferences(world.share([RAM, RAM + 1]), { at: 5 })
    const refused: readonly (readonly [number, number])[] = [
      [5, 1],
      [5, 3],
      [6, 1],
      [4, 2],
      [0, 2],
      [5, 0],
    ]
    for (const [page, count] of refused) {
      expect(errnoOf(() => world.unmapGrants(page, count))).toBe('EINVAL')
    }
    expect(world.read(6)).toBe(0x51)
    world.unmapGrants(5, 2)
    expect(errnoOf(() => world.unmapGrants(5, 2))).toBe('EINVAL')
  })

  test('S84 pages put over a mapping keep its pin; the unmap, or close, releases it', () => {
    using world = new World()
    const [a = 0, b = 0] = world.share([RAM, RAM + 1])
    world.mapReferences([a], { at: 0 })
    world.mapReferences([b], { at: 1 })
    world.window.reset(windowPage(0), 2)
    expect(world.read(0)).toBe(0)
    expect(world.hypervisor.accounting.totals().pinnedGrants).toBe(2)
    expect(world.guest.grants.end(grantReference(a))).toBe(false)
    world.unmapGrants(0, 1)
    expect(world.guest.grants.end(grantReference(a))).toBe(true)
    world.grants.close()
    expect(world.guest.grants.end(grantReference(b))).toBe(true)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('a mapping whose place is given away keeps its pin until close', () => {
    using world = new World()
    const [a = 0, b = 0] = world.share([RAM, RAM + 1])
    world.guestWrite(RAM + 1, 0xb)
    world.mapReferences([a])
    world.mapReferences([b])
    expect(world.read(0)).toBe(0xb)
    expect(world.hypervisor.accounting.leftovers().join('\n')).toMatch(
      /from 0x8, writable, displaced from its place/,
    )
    world.unmapGrants(0, 1)
    expect(world.guest.grants.pins(a).hostWrite).toBe(1)
    expect(world.guest.grants.pins(b).hostWrite).toBe(0)
    world.grants.close()
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('an ended grant stays mapped, and its reference stays mappable while it is', () => {
    using world = new World()
    const [reference = 0] = world.share([RAM])
    world.mapReferences([reference])
    expect(world.guest.grants.end(grantReference(reference))).toBe(false)
    world.mapReferences([reference], { at: 1 })
    world.unmapGrants(0, 1)
    world.unmapGrants(1, 1)
    expect(world.guest.grants.end(grantReference(reference))).toBe(true)
    expect(errnoOf(() => world.mapReferences([reference]))).toBe('EINVAL')
  })

  test('unmapAsync happens in a later turn', async () => {
    using world = new World()
    world.mapReferences(world.share([RAM]))
    const unmapped = world.grants.unmapAsync(world.window, windowPage(0), 1)
    expect(world.hypervisor.accounting.mappings()).toHaveLength(1)
    await unmapped
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
    expect(await rejectedErrno(world.grants.unmapAsync(world.window, windowPage(0), 1))).toBe(
      'EINVAL',
    )
  })
})

function channel(world: World) {
  const remote = world.hypervisor.eventChannels.allocateUnbound(world.guest.id, domainId(0))
  const local = world.hypervisor.eventChannels.bindInterdomain(domainId(0), world.guest.id, remote)
  return {
    remote,
    local,
    isPending: () => world.hypervisor.eventChannels.isPending(world.guest.id, remote),
  }
}

describe('unmap notify', () => {
  test.each(['unmap', 'close'] as const)('%s clears the byte and signals the channel', (how) => {
    using world = new World()
    world.guestWrite(RAM, 0xffffffff)
    const { local, isPending } = channel(world)
    world.mapReferences(world.share([RAM]))
    world.grants.setUnmapNotify(world.window, windowPage(0), { clearByte: 2, eventChannel: local })
    expect(isPending()).toBe(false)
    if (how === 'unmap') world.unmapGrants(0, 1)
    else world.grants.close()
    expect(world.guestRead(RAM)).toBe(0xff00ffff)
    expect(isPending()).toBe(true)
  })

  test('the last call counts, and an empty one arranges nothing', () => {
    using world = new World()
    world.guestWrite(RAM, 0xffffffff)
    world.mapReferences(world.share([RAM]))
    world.grants.setUnmapNotify(world.window, windowPage(0), { clearByte: 0 })
    world.grants.setUnmapNotify(world.window, windowPage(0), { clearByte: 1 })
    world.unmapGrants(0, 1)
    expect(world.guestRead(RAM)).toBe(0xffff00ff)
    world.mapReferences(world.share([RAM]))
    world.grants.setUnmapNotify(world.window, windowPage(0), { clearByte: 0 })
    world.grants.setUnmapNotify(world.window, windowPage(0), {})
    world.unmapGrants(0, 1)
    expect(world.guestRead(RAM)).toBe(0xffff00ff)
  })

  test('no mapping: ENOENT; a byte of a read-only mapping, or a closed port: EINVAL', () => {
    using world = new World()
    const { local } = channel(world)
    world.mapReferences(world.share([RAM, RAM + 1]), { at: 3, writable: false })
    const notify = (page: number, what: { clearByte?: number; eventChannel?: number }) =>
      errnoOf(() => world.grants.setUnmapNotify(world.window, windowPage(page), what))
    expect(notify(0, { clearByte: 0 })).toBe('ENOENT')
    expect(notify(4, { eventChannel: local })).toBe('ENOENT')
    expect(notify(3, { clearByte: 0 })).toBe('EINVAL')
    expect(notify(3, { eventChannel: local + 1 })).toBe('EINVAL')
    expect(notify(3, { eventChannel: local })).toBe('none')
    expect(() =>
      world.grants.setUnmapNotify(world.window, windowPage(3), { clearByte: 4096 }),
    ).toThrow(expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }))
  })

  test('a channel that was closed meanwhile, or whose send fails, does not stop the unmap', () => {
    using world = new World()
    const first = channel(world)
    const second = channel(world)
    world.mapReferences(world.share([RAM]), { at: 0 })
    world.mapReferences(world.share([RAM]), { at: 1 })
    world.grants.setUnmapNotify(world.window, windowPage(0), { eventChannel: first.local })
    world.grants.setUnmapNotify(world.window, windowPage(1), { eventChannel: second.local })
    world.hypervisor.eventChannels.close(domainId(0), first.local)
    world.unmapGrants(0, 1)
    world.hypervisor.faults.fail({ site: 'event.send' })
    world.unmapGrants(1, 1)
    expect(second.isPending()).toBe(false)
    expect(world.hypervisor.accounting.mappings()).toEqual([])
  })
})

describe('copy', () => {
  test('copies both ways, and each segment has a status of its own', () => {
    using world = new World()
    const [open = 0, readOnly = 0] = [...world.share([RAM]), ...world.share([RAM + 1], true)]
    world.guestWrite(RAM, 0x04030201)
    const bytes = new Uint8Array(4)
    const statuses = world.grants.copy([
      segment(open, 0, bytes, 'from-grant'),
      segment(readOnly, 0, Uint8Array.of(9), 'to-grant'),
      segment(open, 4094, Uint8Array.of(7, 8), 'to-grant'),
    ])
    expect([...statuses]).toEqual([0, -1, 0])
    expect([...bytes]).toEqual([1, 2, 3, 4])
    expect(world.guest.memory.readUint16(RAM * 4096 + 4094)).toBe(0x0807)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test.each([
    ['an unused reference', 30, 0, 4, 1, -1],
    ['a reference beyond the table', 512, 0, 4, 1, -3],
    ['no such domain', 8, 0, 4, 9, -2],
    ['offset + length over the page', 8, 4093, 4, 1, -10],
    ['a whole page and more', 8, 0, 4097, 1, -10],
    ['over the page of no grant: gntdev looks at the range first', 30, 4093, 4, 1, -10],
    ['a paged-out page', 9, 0, 4, 1, -12],
    ['exactly to the end of the page', 8, 4092, 4, 1, 0],
    ['nothing', 8, 0, 0, 1, 0],
  ])('%s', (_, reference, offset, length, domain, status) => {
    using world = new World()
    world.share([RAM, RAM + 1])
    world.guest.pageOut(RAM + 1)
    const bytes = new Uint8Array(length).fill(0xee)
    const statuses = world.grants.copy([segment(reference, offset, bytes, 'from-grant', domain)])
    expect([...statuses]).toEqual([status])
    expect(bytes.every((byte) => byte === (status === 0 ? 0 : 0xee))).toBe(true)
  })

  test('a dying domain: −2, while a mapping of it lives on', () => {
    using world = new World()
    const [reference = 0] = world.share([RAM])
    world.mapReferences([reference])
    world.guest.destroy()
    const bytes = new Uint8Array(4)
    expect([...world.grants.copy([segment(reference, 0, bytes, 'from-grant')])]).toEqual([-2])
  })

  test('no segments: no statuses; numbers beyond 16 bits are refused before anything is copied', () => {
    using world = new World()
    const [reference = 0] = world.share([RAM])
    expect([...world.grants.copy([])]).toEqual([])
    const first = segment(reference, 0, Uint8Array.of(1), 'to-grant')
    const copy = () =>
      world.grants.copy([first, segment(reference, 65_536, Uint8Array.of(1), 'to-grant')])
    expect(copy).toThrow(expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }))
    expect(world.guestRead(RAM)).toBe(0)
  })
})

describe('paged-out pages', () => {
  test('S85 a map is EAGAIN, mapAsync waits until the page is in', async () => {
    using world = new World({ pagingRetry: { intervalMilliseconds: 0, attempts: 100 } })
    const references = world.share([RAM, RAM + 1])
    world.guestWrite(RAM + 1, 0x85)
    world.guest.pageOut(RAM + 1)
    world.write(0, 0xeeeeeeee)
    expect(errnoOf(() => world.mapReferences(references))).toBe('EAGAIN')
    expect(world.read(0)).toBe(0)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
    const mapped = world.grants.mapAsync(world.grantRequest(references))
    setImmediate(() => setTimeout(() => world.guest.pageIn(RAM + 1), 1))
    await mapped
    expect(world.read(1)).toBe(0x85)
  })

  test('a page that stays out is a bad page in the end: EINVAL', async () => {
    using world = new World({ pagingRetry: { intervalMilliseconds: 0, attempts: 3 } })
    const references = world.share([RAM])
    world.guest.pageOut(RAM)
    const mapped = world.grants.mapAsync(world.grantRequest(references))
    expect(await rejectedErrno(mapped)).toBe('EINVAL')
    expect(world.hypervisor.faults.calls('grant.map')).toBe(4)
  })

  test('a bad reference beside a paged-out one is EINVAL at once', async () => {
    using world = new World()
    const [reference = 0] = world.share([RAM])
    world.guest.pageOut(RAM)
    const mapped = world.grants.mapAsync(world.grantRequest([reference, 77]))
    expect(await rejectedErrno(mapped)).toBe('EINVAL')
    expect(world.hypervisor.faults.calls('grant.map')).toBe(1)
  })
})
