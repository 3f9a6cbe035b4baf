import { completeIoreq, domainId, IOREQ_TYPE, takeIoreq } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import { type DomainEnd, Hypervisor } from '../src/index.ts'
import { errnoOf, RAM, World } from './helpers/world.ts'

/** Lets handlers and promises that are due run. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
}

describe('ballooning', () => {
  test('who maps a frame keeps its page when it goes; the frame that comes back is another page', () => {
    using world = new World()
    world.guestWrite(RAM + 1, 0x111)
    world.mapFrames([RAM, RAM + 1])
    const before = world.hypervisor.allocatedPages
    world.guest.depopulate(RAM, 2)
    expect(world.read(1)).toBe(0x111)
    expect(world.hypervisor.orphanedPages).toBe(2)
    world.guest.populate(RAM, 2)
    expect(world.guestRead(RAM + 1)).toBe(0)
    world.write(1, 0x222)
    expect(world.guestRead(RAM + 1)).toBe(0)
    world.guestWrite(RAM + 1, 0x333)
    expect(world.read(1)).toBe(0x222)
    expect(world.mapFrames([RAM + 1], { at: 8 })).toEqual([0])
    expect(world.read(8)).toBe(0x333)
    world.unmapForeign(0, 2)
    expect(world.hypervisor.orphanedPages).toBe(0)
    expect(world.hypervisor.allocatedPages).toBe(before)
  })

  test('a granted frame that goes keeps its page while it is mapped', () => {
    using world = new World()
    world.guestWrite(RAM, 0xaa)
    const references = world.share([RAM])
    world.mapReferences(references)
    world.guest.depopulate(RAM)
    expect(world.read(0)).toBe(0xaa)
    world.mapReferences(references, { at: 1 })
    expect(world.read(1)).toBe(0xaa)
    world.unmapGrants(0, 1)
    expect(world.read(1)).toBe(0xaa)
    world.unmapGrants(1, 1)
    expect(world.hypervisor.orphanedPages).toBe(0)
    expect(errnoOf(() => world.mapReferences(references))).toBe('EINVAL')
  })

  test('populate fills holes only, and frames populated together are one call to map', () => {
    using world = new World()
    world.guestWrite(RAM, 7)
    world.guest.depopulate(RAM + 4, 8)
    world.guest.populate(RAM, 16)
    expect(world.guestRead(RAM)).toBe(7)
    const before = world.hypervisor.faults.calls('window.map')
    world.mapFrames({ first: RAM, count: 16 })
    expect(world.hypervisor.faults.calls('window.map') - before).toBe(3)
  })

  test.each([
    [-1, 1],
    [0.5, 1],
    [2 ** 52, 1],
    [0, 0],
    [2 ** 52 - 1, 2],
    [0, 1.5],
  ])('populate(%d, %d) is refused', (frame, count) => {
    using world = new World()
    const error = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })
    expect(() => world.guest.populate(frame, count)).toThrow(error)
    expect(() => world.guest.depopulate(frame, count)).toThrow(error)
    expect(() => world.guest.pageOut(frame, count)).toThrow(error)
  })

  test('the highest frame there is can be populated and mapped', () => {
    using world = new World()
    world.guest.populate(2 ** 52 - 1)
    expect(world.mapFrames([2 ** 52 - 1])).toEqual([0])
  })

  test('an enabled ioreq server is told to drop what it has mapped, once more for all later changes', async () => {
    using world = new World()
    const server = world.guest.ioreq.create(domainId(0))
    const { eventChannels } = world.hypervisor
    const port = eventChannels.bindInterdomain(domainId(0), world.guest.id, server.eventChannel(0))
    server.enable()
    const types: (number | undefined)[] = []
    const answer = () => {
      types.push(takeIoreq(server.page, 0)?.type)
      completeIoreq(server.page, 0)
      eventChannels.send(domainId(0), port)
    }
    world.guest.depopulate(RAM - 10, 2)
    await turns()
    expect(world.guest.ioreq.pending()).toEqual([])
    for (const frame of [RAM, RAM + 1, RAM + 2]) world.guest.depopulate(frame)
    await turns()
    answer()
    await turns()
    answer()
    await turns()
    expect(types).toEqual([IOREQ_TYPE.invalidate, IOREQ_TYPE.invalidate])
    expect(world.guest.ioreq.pending()).toEqual([])
    world.guest.depopulate(RAM + 3)
    await turns()
    expect(world.guest.ioreq.pending()).toHaveLength(1)
    world.guest.destroy()
    await turns()
    expect(world.guest.ioreq.pending()).toEqual([])
  })
})

describe('paging', () => {
  test('the bytes come back; a mapped frame, and a hole, cannot be paged out', () => {
    using world = new World()
    world.guestWrite(RAM, 0x77)
    world.guest.pageOut(RAM, 2)
    expect(world.mapFrames([RAM, RAM + 2])).toEqual([2, 0])
    world.guest.pageIn(RAM)
    world.unmapForeign(0, 2)
    expect(world.mapFrames([RAM, RAM + 1])).toEqual([0, 2])
    expect(world.read(0)).toBe(0x77)
    expect(errnoOf(() => world.guest.pageOut(RAM))).toBe('EBUSY')
    expect(errnoOf(() => world.guest.pageOut(RAM - 1))).toBe('EINVAL')
    expect(errnoOf(() => world.guest.pageIn(RAM - 1))).toBe('EINVAL')
    expect(errnoOf(() => world.guest.pageOut(RAM + 5, 4096))).toBe('EINVAL')
    expect(world.guest.p2m.pagedOutCount).toBe(1)
  })

  test('a frame pinned by a grant cannot be paged out', () => {
    using world = new World()
    world.mapReferences(world.share([RAM]))
    expect(errnoOf(() => world.guest.pageOut(RAM))).toBe('EBUSY')
  })
})

describe('death', () => {
  test('after shutdown, or a crash, mappings work and new ones succeed', () => {
    using world = new World()
    const references = world.share([RAM])
    world.guestWrite(RAM, 5)
    world.mapFrames([RAM])
    world.guest.shutdown()
    expect(world.guest.state).toBe('shutdown')
    expect(world.read(0)).toBe(5)
    expect(world.mapFrames([RAM], { at: 1 })).toEqual([0])
    world.mapReferences(references, { at: 2 })
    expect(world.read(2)).toBe(5)
    world.guest.crash()
    expect(world.guest.state).toBe('shutdown')
    const other = world.hypervisor.createDomain({ memoryBytes: 4096 })
    other.crash()
    expect(other.state).toBe('crashed')
    expect(world.mapFrames([RAM], { at: 3, domain: other.id })).toEqual([0])
  })

  test('mappings survive destruction; new ones are EINVAL while it is dying, ESRCH once it is gone', () => {
    using world = new World()
    const references = world.share([RAM + 1])
    world.guestWrite(RAM, 0xd0)
    world.guestWrite(RAM + 1, 0xd1)
    world.mapFrames([RAM])
    world.mapReferences(references, { at: 1 })
    world.guest.destroy()
    expect(world.guest.state).toBe('dying')
    expect([world.read(0), world.read(1)]).toEqual([0xd0, 0xd1])
    world.write(0, 0xd2)
    expect(world.read(0)).toBe(0xd2)
    expect(world.hypervisor.orphanedPages).toBe(2)
    // Xen gives the errno for each frame, as for holes.
    expect(world.mapFrames([RAM, RAM + 1], { at: 4 })).toEqual([22, 22])
    expect(errnoOf(() => world.mapFrames([RAM], { at: 4, errors: null }))).toBe('EINVAL')
    expect(errnoOf(() => world.mapReferences(references, { at: 4 }))).toBe('EINVAL')
    world.unmapForeign(0, 1)
    expect(world.guest.state).toBe('dying')
    world.unmapGrants(1, 1)
    expect(world.guest.state).toBe('destroyed')
    expect(errnoOf(() => world.mapFrames([RAM], { at: 4 }))).toBe('ESRCH')
    expect(errnoOf(() => world.mapReferences(references, { at: 4 }))).toBe('EINVAL')
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
    expect(errnoOf(() => world.hypervisor.domain(1))).toBe('ESRCH')
  })

  test('the id is free again only when the domain is gone; the new domain is another', () => {
    using world = new World()
    const references = world.share([RAM])
    world.mapReferences(references)
    world.guest.destroy()
    const again = () => world.hypervisor.createDomain({ id: 1, memoryBytes: 4096 })
    expect(errnoOf(again)).toBe('EEXIST')
    expect(world.hypervisor.createDomain({ memoryBytes: 4096 }).id).toBe(2)
    world.unmapGrants(0, 1)
    const next = again()
    expect(errnoOf(() => world.mapReferences(references))).toBe('EINVAL')
    expect(next.memory.readUint32(RAM * 4096)).toBe(0)
  })

  test('what the domain itself had mapped, bound and raised goes with it', () => {
    using world = new World()
    const { hypervisor, guest } = world
    const backend = hypervisor.createDomain({ memoryBytes: 4096 })
    const [reference = 0] = guest.grants.share([RAM], { to: backend.id })
    const table = hypervisor.grantTable(backend.id)
    table.map(world.grantRequest([reference]))
    const port = hypervisor.eventChannels.allocateUnbound(backend.id, guest.id)
    hypervisor.eventChannels.bindInterdomain(guest.id, backend.id, port)
    hypervisor.interrupts.setLevel(backend.id, 33, true)
    backend.ioreq.create(domainId(0))
    backend.destroy()
    expect(backend.state).toBe('destroyed')
    expect(guest.grants.pins(reference).hostWrite).toBe(0)
    expect(hypervisor.accounting.eventChannels()).toEqual([
      { domain: 1, port: 1, description: 'to domain 2, unbound' },
    ])
    expect([...hypervisor.interrupts.raisedLines()]).toEqual([])
    expect(hypervisor.accounting.ioreqServers()).toEqual([])
    expect(() => table.map(world.grantRequest([reference]))).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_CLOSED' }),
    )
    expect(errnoOf(() => hypervisor.grantTable(backend.id))).toBe('ESRCH')
  })

  test('a dead domain can be neither populated nor reached by itself', () => {
    using world = new World()
    world.mapFrames([RAM])
    world.guest.destroy()
    world.guest.destroy()
    expect(errnoOf(() => world.guest.populate(RAM))).toBe('ESRCH')
    expect(errnoOf(() => world.guest.depopulate(RAM))).toBe('ESRCH')
    expect(errnoOf(() => world.hypervisor.foreignMemory(1))).toBe('ESRCH')
    expect(() => world.guestRead(RAM)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_GUEST_ADDRESS' }),
    )
  })

  test.each([
    ['shutdown', ['shutdown']],
    ['crash', ['crashed']],
    ['destroy', ['destroyed']],
  ] as const)('onDeath is called once, by %s', (how, expected) => {
    using world = new World()
    const ends: DomainEnd[] = []
    world.guest.onDeath((end) => ends.push(end))
    const stop = world.guest.onDeath(() => ends.push('crashed'))
    stop()
    world.guest[how]()
    world.guest.destroy()
    expect(ends).toEqual(expected)
  })

  test('the control domain lives as long as its hypervisor', () => {
    using hypervisor = new Hypervisor()
    const refused = expect.objectContaining({ code: 'ERR_XMC_REFUSED' })
    expect(() => hypervisor.control.shutdown()).toThrow(refused)
    expect(() => hypervisor.control.destroy()).toThrow(refused)
  })
})
