import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { openWindow } from '@xmc/hostmem'
import { domainId, guestFrame, windowPage } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import { Hypervisor } from '../src/index.ts'
import { errnoOf, RAM, World } from './helpers/world.ts'

describe('createDomain', () => {
  test('gives the lowest free id and the memory asked for, from frame 0x40000 on', () => {
    using hypervisor = new Hypervisor()
    hypervisor.createDomain({ id: 1, memoryBytes: 4096 })
    hypervisor.createDomain({ id: 3, memoryBytes: 4096, name: 'third' })
    const domain = hypervisor.createDomain({ memoryBytes: 4097, grantTableFrames: 4 })
    expect(domain.id).toBe(2)
    expect(domain.p2m.runs.map(({ frame, count }) => [frame, count])).toEqual([[0x40000, 2]])
    expect(domain.grants.size).toBe(2048)
    expect(hypervisor.domains.map(({ id, name }) => [id, name])).toEqual([
      [0, 'control domain'],
      [1, 'domain 1'],
      [3, 'third'],
      [2, 'domain 2'],
    ])
    expect(hypervisor.domain(3).name).toBe('third')
  })

  test('a domain that cannot be made leaves nothing behind', () => {
    using hypervisor = new Hypervisor()
    const pages = hypervisor.allocatedPages
    const make = (options: object) => () =>
      hypervisor.createDomain({ memoryBytes: 8192, ...options })
    expect(errnoOf(make({ grantTableFrames: 65 }))).toBe('ENOSPC')
    hypervisor.faults.fail({ site: 'domain.populate', errno: 'ENOMEM' })
    expect(errnoOf(make({}))).toBe('ENOMEM')
    expect(errnoOf(make({ id: 0 }))).toBe('EEXIST')
    const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })
    expect(make({ id: 0x7ff0 })).toThrow(refused)
    expect(make({ memoryBytes: -1 })).toThrow(refused)
    expect(make({ vcpus: 129 })).toThrow(refused)
    expect(make({ ramBase: 2 ** 52 - 1 })).toThrow(refused)
    expect(hypervisor.domains).toHaveLength(1)
    expect(hypervisor.allocatedPages).toBe(pages)
    expect(make({})().grants.size).toBe(512)
  })

  test('options out of range are refused, and leave no file open', () => {
    const before = openFiles()
    const refused = expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' })
    for (const options of [
      { seed: 2 ** 32 },
      { maximumGrantFrames: 0 },
      { maximumMaptrackFrames: 0.5 },
      { controlMemoryBytes: -1 },
      { pagingRetry: { attempts: -1 } },
      { pagingRetry: { intervalMilliseconds: Number.NaN } },
    ]) {
      expect(() => new Hypervisor(options)).toThrow(refused)
    }
    expect(openFiles()).toBe(before)
  })
})

describe('the control domain', () => {
  test('grants to itself, and to guests, as any other', () => {
    using world = new World()
    const { control } = world.hypervisor
    const [own = 0] = control.grants.share([RAM], { to: 0 })
    control.memory.writeUint32(RAM * 4096, 0xd0)
    world.mapReferences([own], { domain: 0 })
    expect(world.read(0)).toBe(0xd0)
    const [lent = 0] = control.grants.share([RAM], { to: 1 })
    const guestTable = world.hypervisor.grantTable(1)
    guestTable.map(world.grantRequest([lent], { at: 1, domain: 0 }))
    expect(world.read(1)).toBe(0xd0)
  })

  test('has no memory when asked so', () => {
    using hypervisor = new Hypervisor({ controlMemoryBytes: 0 })
    expect(hypervisor.control.p2m.frameCount).toBe(0)
    expect(hypervisor.allocatedPages).toBe(0)
  })
})

describe('several domains and hypervisors', () => {
  test('a driver domain maps frames and grants of another guest', () => {
    using world = new World()
    const backend = world.hypervisor.createDomain({ memoryBytes: 4096 })
    const [reference = 0] = world.guest.grants.share([RAM], { to: backend.id })
    world.guestWrite(RAM, 0xfeed)
    world.hypervisor.grantTable(backend.id).map(world.grantRequest([reference]))
    expect(world.read(0)).toBe(0xfeed)
    expect(errnoOf(() => world.mapReferences([reference], { at: 1 }))).toBe('EINVAL')
    world.hypervisor.foreignMemory(backend.id).map(world.foreignRequest([RAM], { at: 2 }))
    expect(world.read(2)).toBe(0xfeed)
  })

  test('are independent: equal ids, frames and references mean other things', () => {
    using one = new World()
    using other = new World()
    one.guestWrite(RAM, 1)
    other.guestWrite(RAM, 2)
    one.mapFrames([RAM])
    other.mapFrames([RAM])
    expect([one.read(0), other.read(0)]).toEqual([1, 2])
    one.hypervisor.faults.fail({ site: 'foreign.map', count: Infinity })
    expect(errnoOf(() => one.mapFrames([RAM]))).toBe('EINVAL')
    expect(other.mapFrames([RAM])).toEqual([0])
    one.guest.destroy()
    expect(other.guest.state).toBe('running')
  })
})

describe('seed', () => {
  test('is drawn, can be read, and repeats a run', () => {
    using drawn = new Hypervisor()
    using again = new Hypervisor({ seed: drawn.seed })
    expect(randomErrnos(again)).toEqual(randomErrnos(drawn))
  })
})

describe('close', () => {
  test('leaves no file, no mapping of it, and nobody to call', () => {
    const before = openFiles()
    const window = openWindow({ pageCount: 64 })
    for (let round = 0; round < 50; round++) {
      using hypervisor = new Hypervisor({ name: 'closing' })
      expect(openFiles()).toBe(before + 1)
      const domain = hypervisor.createDomain({ memoryBytes: 2 ** 20 })
      domain.memory.writeUint32(RAM * 4096, round)
      const [reference] = domain.grants.share([RAM], { to: 0 })
      hypervisor.foreignMemory().map({
        domain: domain.id,
        window,
        windowPage: windowPage(0),
        frames: { first: guestFrame(RAM), count: 2 },
        writable: true,
      })
      const references = reference === undefined ? [] : [reference]
      const where = { domain: domain.id, window, windowPage: windowPage(8), writable: true }
      const table = hypervisor.grantTable()
      table.map({ ...where, references })
      expect(new DataView(window.buffer, window.byteOffset).getUint32(8 * 4096, true)).toBe(round)
      const bytes = new Uint8Array(4)
      const direction = 'from-grant' as const
      table.copy(references.map((r) => ({ ...where, reference: r, offset: 0, bytes, direction })))
      expect(bytes[0]).toBe(round)
    }
    expect(new DataView(window.buffer, window.byteOffset).getUint32(8 * 4096, true)).toBe(0)
    window.close()
    expect(openFiles()).toBe(before)
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain('memfd:closing')
  })

  test('a closed hypervisor refuses, a second close does nothing', () => {
    const hypervisor = new Hypervisor()
    const domain = hypervisor.createDomain({ memoryBytes: 4096 })
    const foreign = hypervisor.foreignMemory()
    hypervisor.close()
    hypervisor.close()
    const closed = expect.objectContaining({ code: 'ERR_XMC_CLOSED' })
    expect(() => hypervisor.createDomain({ memoryBytes: 0 })).toThrow(closed)
    expect(() => hypervisor.foreignMemory()).toThrow(closed)
    expect(() => hypervisor.grantTable()).toThrow(closed)
    using window = openWindow({ pageCount: 1 })
    expect(() => foreign.unmap(window, windowPage(0), 1)).toThrow(closed)
    expect(() => domain.memory.readUint8(RAM * 4096)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_GUEST_ADDRESS' }),
    )
  })

  test('an access that waits for a device model ends with an error', async () => {
    const hypervisor = new Hypervisor()
    const domain = hypervisor.createDomain({ memoryBytes: 4096 })
    const server = domain.ioreq.create(domainId(0))
    server.mapIoRange(0x2000000n, 0x20001ffn)
    server.enable()
    const access = domain.ioreq.access({ address: 0x2000000n, size: 4, write: false })
    setImmediate(() => hypervisor.close())
    await expect(access).rejects.toThrow(expect.objectContaining({ code: 'ERR_XMC_IOREQ_ABORTED' }))
    expect(hypervisor.accounting.leftovers()).toEqual([])
  })
})

function randomErrnos({ faults }: Hypervisor): number[] {
  faults.random({ probability: 0.5 })
  return Array.from({ length: 64 }, () => faults.next('foreign.unmap')?.errno ?? 0)
}

/** Memory files that the process has open, the only files a hypervisor opens. */
function openFiles(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('/memfd:')
    } catch {
      // Closed since the folder was read, as the descriptor that read it.
      return false
    }
  }).length
}
