import { domainId, windowPage } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import { errnoOf, RAM, World } from './helpers/world.ts'

describe('mappings', () => {
  test('lists what is live, who made it, and goes back to empty', () => {
    using world = new World()
    const { accounting } = world.hypervisor
    const disk = world.hypervisor.grantTable(0, { name: 'disk 0' })
    world.mapFrames({ first: RAM, count: 8 }, { at: 2, writable: false })
    world.mapFrames([RAM, RAM - 1], { at: 20 })
    disk.map(world.grantRequest(world.share([RAM + 3, RAM + 1]), { at: 40 }))
    expect(accounting.mappings()).toEqual([
      {
        kind: 'foreign',
        device: 'foreign',
        mapper: 0,
        domain: 1,
        pages: { first: RAM, count: 8 },
        window: world.window,
        windowPage: windowPage(2),
        pageCount: 8,
        mappedPages: 8,
        writable: false,
        displaced: false,
        stack: undefined,
      },
      expect.objectContaining({ pages: [RAM, RAM - 1], pageCount: 2, mappedPages: 1 }),
      expect.objectContaining({ kind: 'grant', device: 'disk 0', pages: [8, 9], writable: true }),
    ])
    expect(accounting.totals()).toMatchObject({ mappings: 3, mappedPages: 11, pinnedGrants: 2 })
    world.unmapForeign(0, 30)
    disk.close()
    expect(accounting.mappings()).toEqual([])
    expect(accounting.totals()).toMatchObject({ mappings: 0, mappedPages: 0, pinnedGrants: 0 })
  })

  test('a list that the caller uses again does not change the report', () => {
    using world = new World({ recordCalls: true })
    const frames = [RAM, RAM + 1]
    const request = world.foreignRequest(frames, { errors: new Int32Array(2) })
    world.foreign.map(request)
    if ('fill' in request.frames) Object.assign(request.frames, { 0: 5 })
    expect(world.hypervisor.accounting.mappings()[0]?.pages).toEqual([RAM, RAM + 1])
    expect(world.hypervisor.accounting.log[0]?.pages).toEqual([RAM, RAM + 1])
  })

  test('names the caller when stacks are recorded', () => {
    using world = new World({ recordStacks: true })
    world.mapFrames([RAM])
    world.mapReferences(world.share([RAM]), { at: 1 })
    for (const { stack } of world.hypervisor.accounting.mappings()) {
      expect(stack).toContain('accounting.test.ts')
      expect(stack).not.toContain('accounting.ts:')
    }
    expect(world.hypervisor.accounting.leftovers()[0]).toContain('accounting.test.ts')
  })

  test('names a caller beneath many others, as the user of a cache is', () => {
    using world = new World({ recordStacks: true })
    const { stackTraceLimit } = Error
    const mapFromAfar = (): void => callThrough(20, () => world.mapFrames([RAM]))
    mapFromAfar()
    expect(world.hypervisor.accounting.mappings()[0]?.stack).toContain('mapFromAfar')
    expect(Error.stackTraceLimit).toBe(stackTraceLimit)
  })
})

describe('pins', () => {
  test('lists pinned entries with their counts', () => {
    using world = new World()
    const [reference = 0] = world.share([RAM + 6])
    world.mapReferences([reference, reference], { at: 0 })
    world.mapReferences([reference], { at: 2, writable: false })
    expect(world.hypervisor.accounting.pins()).toEqual([
      {
        granter: 1,
        reference,
        grantee: 0,
        frame: RAM + 6,
        machinePage: world.guest.p2m.machineOf(RAM + 6),
        pins: { hostRead: 1, hostWrite: 2, deviceRead: 0, deviceWrite: 0 },
      },
    ])
  })
})

test('leftovers are lines for people', () => {
  using world = new World()
  const { hypervisor, guest } = world
  expect(hypervisor.accounting.leftovers()).toEqual([])
  world.mapFrames([RAM, RAM - 1, RAM + 1], { at: 4 })
  world.mapReferences(world.share([RAM]), { writable: false })
  guest.ioreq.create(domainId(0)).enable()
  const port = hypervisor.eventChannels.allocateUnbound(guest.id, domainId(0))
  hypervisor.eventChannels.bindInterdomain(domainId(0), guest.id, port)
  expect(hypervisor.accounting.leftovers()).toEqual([
    'foreign mapping: 3 frames (2 mapped) of domain 1 from 0x40000 and others, writable, at window page 4, by domain 0 through foreign',
    'grant mapping: 1 references of domain 1 from 0x8, read-only, at window page 0, by domain 0 through grants',
    'pinned grant: reference 8 of domain 1, 1 read-only and 0 writable, by domain 0',
    'event channel: port 1 of domain 1, to domain 0, unbound',
    'event channel: port 2 of domain 1, to domain 0, port 1',
    'event channel: port 1 of domain 0, to domain 1, port 2',
    'ioreq server: 0 of domain 1, enabled, answered by domain 0',
  ])
})

describe('counts and log', () => {
  test('totals count calls and pages by site', () => {
    using world = new World()
    world.mapFrames({ first: RAM, count: 16 })
    world.unmapForeign(0, 16)
    expect(errnoOf(() => world.mapReferences([100, 101]))).toBe('EINVAL')
    const { calls } = world.hypervisor.accounting.totals()
    expect(calls['foreign.map']).toEqual({ calls: 1, pages: 16 })
    expect(calls['foreign.unmap']).toEqual({ calls: 1, pages: 16 })
    expect(calls['window.map']).toEqual({ calls: 1, pages: 16 })
    expect(calls['grant.map']).toEqual({ calls: 1, pages: 2 })
    expect(calls['grant.copy']).toBeUndefined()
  })

  test('the log has every call at the ports, in order, with how it ended', () => {
    using world = new World({ recordCalls: true })
    const { accounting } = world.hypervisor
    world.mapFrames({ first: RAM - 1, count: 3 }, { at: 9 })
    world.unmapForeign(9, 3)
    expect(errnoOf(() => world.mapReferences([100], { writable: false }))).toBe('EINVAL')
    expect(accounting.log).toEqual([
      {
        site: 'foreign.map',
        device: 'foreign',
        domain: 1,
        pages: { first: RAM - 1, count: 3 },
        pageCount: 3,
        windowPage: windowPage(9),
        writable: true,
        errno: 0,
        failedPages: 1,
      },
      {
        site: 'foreign.unmap',
        device: 'foreign',
        pageCount: 3,
        windowPage: windowPage(9),
        errno: 0,
        failedPages: 0,
      },
      expect.objectContaining({ site: 'grant.map', pages: [100], writable: false, errno: 22 }),
    ])
    accounting.log.length = 0
    world.unmapForeign(0, 1)
    expect(accounting.log.map(({ site }) => site)).toEqual(['foreign.unmap'])
  })

  test('the log stays empty unless asked for', () => {
    using world = new World()
    world.mapFrames([RAM])
    expect(world.hypervisor.accounting.log).toEqual([])
  })
})

/** Calls `act` beneath `depth` frames. */
function callThrough(depth: number, act: () => void): void {
  if (depth === 0) act()
  else callThrough(depth - 1, act)
}
