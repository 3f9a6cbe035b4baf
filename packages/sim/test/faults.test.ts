import { domainId, grantReference, SystemCallError, type TargetWindow } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import { type FaultOptions, Faults } from '../src/index.ts'
import { errnoOf, RAM, World } from './helpers/world.ts'

/** What `calls` calls at `site` with 4 pages get: errno of the call, or the pages that fail. */
function outcomes(faults: Faults, calls: number, site: FaultOptions['site'] = 'foreign.map') {
  return Array.from({ length: calls }, () => {
    const fault = faults.next(site, 4)
    return fault === undefined ? 0 : (fault.pages ?? fault.errno)
  })
}

/** What a window that does not work throws. */
function refusal(errno: number): SystemCallError {
  return new SystemCallError('mmap', errno, 'a test')
}

describe('fail', () => {
  test('hits the nth call from now, count times', () => {
    const faults = new Faults(1)
    outcomes(faults, 2)
    faults.fail({ site: 'foreign.map', nth: 2, count: 2, errno: 'ENOMEM' })
    expect(outcomes(faults, 5)).toEqual([0, 12, 12, 0, 0])
    expect(outcomes(faults, 1, 'grant.map')).toEqual([0])
    expect([faults.calls('foreign.map'), faults.calls('grant.map')]).toEqual([7, 1])
  })

  test('the log has every fault, with the call it hit', () => {
    const faults = new Faults(1)
    faults.fail({ site: 'grant.copy', nth: 3, errno: 5, pages: [1], status: -9 })
    outcomes(faults, 4, 'grant.copy')
    expect(faults.log).toEqual([
      { rule: 1, site: 'grant.copy', call: 3, errno: 5, status: -9, pages: [1] },
    ])
  })

  test('count Infinity lasts until the rule is cancelled', () => {
    const faults = new Faults(1)
    const rule = faults.fail({ site: 'window.map', count: Infinity })
    expect(outcomes(faults, 3, 'window.map')).toEqual([22, 22, 22])
    expect(rule.injected).toBe(3)
    rule.cancel()
    expect(outcomes(faults, 1, 'window.map')).toEqual([0])
  })

  test('pages: all, by index (those beyond the request are left out), and seeded', () => {
    const faults = new Faults(1)
    faults.fail({ site: 'foreign.map', pages: 'all' })
    faults.fail({ site: 'foreign.map', nth: 2, pages: [0, 3, 9] })
    faults.fail({ site: 'foreign.map', nth: 3, pages: [9] })
    expect(outcomes(faults, 3)).toEqual([[0, 1, 2, 3], [0, 3], 0])
    const seeded = () => {
      const other = new Faults(1)
      const pages = { seed: 77, probability: 0.5 }
      const rule = other.fail({ site: 'foreign.map', count: Infinity, pages })
      expect(rule.seed).toBe(77)
      return outcomes(other, 50)
    }
    expect(seeded()).toEqual(seeded())
    const failed = seeded().flat().length
    expect(failed).toBeGreaterThan(60)
    expect(failed).toBeLessThan(140)
  })

  test('the first of two rules wins, the other’s call is spent', () => {
    const faults = new Faults(1)
    faults.fail({ site: 'foreign.map', errno: 'ENOMEM' })
    faults.fail({ site: 'foreign.map', errno: 'EIO' })
    expect(outcomes(faults, 2)).toEqual([12, 0])
  })

  test('clear ends the rules and empties the log', () => {
    const faults = new Faults(1)
    faults.fail({ site: 'foreign.map', count: Infinity })
    outcomes(faults, 2)
    faults.clear()
    expect(outcomes(faults, 2)).toEqual([0, 0])
    expect(faults.log).toEqual([])
  })

  test.each<FaultOptions>([
    { site: 'foreign.map', nth: 0 },
    { site: 'foreign.map', count: 1.5 },
    { site: 'foreign.map', errno: 0 },
    { site: 'foreign.map', errno: -22 },
    { site: 'foreign.map', pages: { seed: 1, probability: 2 } },
    { site: 'foreign.map', pages: { seed: 2 ** 32, probability: 0.5 } },
    { site: 'foreign.unmap', pages: 'all' },
    { site: 'foreign.map', pages: [0, -1] },
    { site: 'foreign.map', pages: [1.5] },
    { site: 'grant.copy', pages: [0], status: 0 },
    { site: 'grant.copy', pages: [0], status: -14 },
    { site: 'grant.map', status: -3 },
  ])('%o is refused', (options) => {
    const faults = new Faults(1)
    expect(() => faults.fail(options)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
    )
  })

  test('an unknown site or errno is refused', () => {
    const faults = new Faults(1)
    const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })
    expect(() => faults.fail(JSON.parse('{ "site": "foreign.mop" }'))).toThrow(refused)
    expect(() => faults.fail(JSON.parse('{ "site": "foreign.map", "errno": "ENOTHING" }'))).toThrow(
      refused,
    )
  })
})

const drawn = (seed: number) => {
  const faults = new Faults(5)
  faults.random({ seed, probability: 0.3, sites: ['foreign.map', 'grant.unmap'] })
  return [outcomes(faults, 200), outcomes(faults, 200, 'grant.unmap')]
}

describe('random', () => {
  test('the same seed and calls give the same faults, another seed others', () => {
    expect(drawn(42)).toEqual(drawn(42))
    expect(drawn(42)).not.toEqual(drawn(43))
  })

  test('hits about as often as it is told to; pages where there are pages, at least one', () => {
    const [maps = [], unmaps = []] = drawn(42)
    const hits = maps.filter((outcome) => outcome !== 0)
    expect(hits.length).toBeGreaterThan(30)
    expect(hits.length).toBeLessThan(90)
    const partial = hits.filter((outcome) => Array.isArray(outcome))
    expect(partial.length).toBeGreaterThan(10)
    expect(partial.every((pages) => pages.length > 0)).toBe(true)
    expect(unmaps.some((outcome) => Array.isArray(outcome))).toBe(false)
    expect(new Set(hits.filter((outcome) => !Array.isArray(outcome)))).toEqual(
      new Set([22, 12, 11]),
    )
  })

  test('takes the hypervisor’s seed, the sites of both ports, and the errnos given', () => {
    const faults = new Faults(5)
    const rule = faults.random({ probability: 1, errnos: ['EIO'] })
    expect(rule.seed).toBe(5)
    expect(faults.next('foreign.unmap')?.errno).toBe(5)
    expect(faults.next('event.send')).toBeUndefined()
    expect(() => faults.random({ probability: 1, errnos: [] })).toThrow(/errnos/)
    expect(() => faults.random({ probability: -1 })).toThrow(/probability/)
  })
})

describe('at the ports', () => {
  test('foreign.map: the whole call, and nothing is mapped', () => {
    using world = new World()
    world.write(0, 0xee)
    world.hypervisor.faults.fail({ site: 'foreign.map', errno: 'ENOMEM' })
    expect(errnoOf(() => world.mapFrames([RAM]))).toBe('ENOMEM')
    expect(world.read(0)).toBe(0)
    expect(world.mapFrames([RAM])).toEqual([0])
  })

  test('foreign.map: single pages, their errno in the errors, zeros in the window', () => {
    using world = new World()
    for (const page of [0, 1, 2]) world.guestWrite(RAM + page, page + 1)
    world.hypervisor.faults.fail({ site: 'foreign.map', errno: 'EFAULT', pages: [1] })
    expect(world.mapFrames({ first: RAM, count: 3 })).toEqual([0, 14, 0])
    expect([0, 1, 2].map((page) => world.read(page))).toEqual([1, 0, 3])
    expect(world.hypervisor.accounting.totals().mappedPages).toBe(2)
  })

  test('foreign.unmap: the mapping stays', () => {
    using world = new World()
    world.mapFrames([RAM])
    world.hypervisor.faults.fail({ site: 'foreign.unmap' })
    expect(errnoOf(() => world.unmapForeign(0, 1))).toBe('EINVAL')
    world.guestWrite(RAM, 3)
    expect(world.read(0)).toBe(3)
    world.unmapForeign(0, 1)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('grant.map and window.map: the whole batch, with nothing left pinned', () => {
    using world = new World()
    const references = world.share([RAM, RAM + 5, RAM + 9])
    for (const fault of [
      { site: 'grant.map' },
      { site: 'grant.map', pages: [1] },
      { site: 'window.map', nth: 3 },
    ] as const) {
      world.hypervisor.faults.fail({ ...fault, errno: 'ENOMEM' })
      expect(errnoOf(() => world.mapReferences(references))).toBe('ENOMEM')
      expect(world.hypervisor.accounting.leftovers()).toEqual([])
      expect([0, 1, 2].map((page) => world.read(page))).toEqual([0, 0, 0])
    }
    world.mapReferences(references)
  })

  test('window.map in a foreign map: nothing is left mapped, an earlier mapping there is gone', () => {
    using world = new World()
    world.guestWrite(RAM, 1)
    world.mapFrames([RAM])
    world.hypervisor.faults.fail({ site: 'window.map', nth: 2, errno: 'ENOMEM' })
    expect(errnoOf(() => world.mapFrames([RAM, RAM + 2]))).toBe('ENOMEM')
    expect(world.read(0)).toBe(0)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('a map whose window cannot be put right either: one error that says so, with both as its cause', () => {
    using world = new World()
    const { buffer, byteOffset, pageCount, hostAddress } = world.window
    const window: TargetWindow = {
      buffer,
      byteOffset,
      pageCount,
      hostAddress,
      map: () => {
        throw refusal(13)
      },
      reset: () => {
        throw refusal(12)
      },
    }
    const frames = { ...world.foreignRequest([RAM, RAM + 1]), window }
    const references = { ...world.grantRequest(world.share([RAM, RAM + 1])), window }
    const failed = expect.objectContaining({
      code: 'ERR_XMC_SYSTEM_CALL',
      errnoName: 'ENOMEM',
      message: expect.stringContaining('do not touch the 2 pages'),
      cause: expect.objectContaining({ errors: [refusal(13), refusal(12)] }),
    })
    expect(() => world.foreign.map(frames)).toThrow(failed)
    expect(() => world.grants.map(references)).toThrow(failed)
    expect(world.hypervisor.accounting.leftovers()).toEqual([])
  })

  test('grant.unmap and window.reset: the mapping stays; grant.notify: nothing is arranged', () => {
    using world = new World()
    world.mapReferences(world.share([RAM]))
    for (const site of ['grant.unmap', 'window.reset'] as const) {
      world.hypervisor.faults.fail({ site, errno: 'EIO' })
      expect(errnoOf(() => world.unmapGrants(0, 1))).toBe('EIO')
    }
    world.hypervisor.faults.fail({ site: 'grant.notify', errno: 'EIO' })
    world.guestWrite(RAM, 0xff)
    const { window } = world
    const { windowPage } = world.grantRequest([8])
    const notify = () => world.grants.setUnmapNotify(window, windowPage, { clearByte: 0 })
    expect(errnoOf(notify)).toBe('EIO')
    world.unmapGrants(0, 1)
    expect(world.guestRead(RAM)).toBe(0xff)
  })

  test('grant.copy: a status for single segments, or the whole call', () => {
    using world = new World()
    const [first = 0] = world.share([RAM])
    const reference = grantReference(first)
    const segments = [0, 1, 2].map((offset) => ({
      domain: domainId(1),
      reference,
      offset,
      bytes: Uint8Array.of(7),
      direction: 'to-grant' as const,
    }))
    world.hypervisor.faults.fail({ site: 'grant.copy', pages: [1], status: -3 })
    expect([...world.grants.copy(segments)]).toEqual([0, -3, 0])
    expect(world.guestRead(RAM)).toBe(0x070007)
    world.hypervisor.faults.fail({ site: 'grant.copy', errno: 'EFAULT' })
    expect(errnoOf(() => world.grants.copy(segments))).toBe('EFAULT')
  })

  test('the other sites throw what they are told to', () => {
    using world = new World()
    const { hypervisor, guest } = world
    const { eventChannels, faults, interrupts } = hypervisor
    const control = domainId(0)
    const port = eventChannels.allocateUnbound(guest.id, control)
    for (const [site, call] of [
      ['event.bind', () => eventChannels.allocateUnbound(control, guest.id)],
      ['event.bind', () => eventChannels.bindInterdomain(control, guest.id, port)],
      ['event.send', () => eventChannels.send(guest.id, port)],
      ['interrupt.set', () => interrupts.setLevel(guest.id, 33, true)],
      ['ioreq.create', () => guest.ioreq.create(control)],
      ['domain.populate', () => guest.populate(RAM - 1)],
    ] as const) {
      faults.fail({ site, errno: 'EPERM' })
      expect([site, errnoOf(call)]).toEqual([site, 'EPERM'])
      expect([site, errnoOf(call)]).toEqual([site, 'none'])
    }
  })

  test('an invalidation that cannot be sent is reported, not thrown into the void', async () => {
    const errors: unknown[] = []
    using world = new World({ onHandlerError: (error) => errors.push(error) })
    world.guest.ioreq.create(domainId(0)).enable()
    world.hypervisor.faults.fail({ site: 'event.send', errno: 'EPERM' })
    world.guest.depopulate(RAM)
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(errors).toEqual([expect.objectContaining({ errnoName: 'EPERM' })])
  })
})
