import { describe, expect, test } from 'vitest'
import { GuestAddressError, Hypervisor } from '../src/index.ts'
import { RAM, RAM_ADDRESS, World } from './helpers/world.ts'

const MIB = 2 ** 20

describe('numbers', () => {
  test('are little endian, of every width, aligned or not', () => {
    using world = new World()
    const { memory } = world.guest
    memory.writeBigUint64(RAM_ADDRESS, 0x0807060504030201n)
    expect(memory.readUint8(RAM_ADDRESS + 7)).toBe(8)
    expect(memory.readUint16(RAM_ADDRESS + 1)).toBe(0x0302)
    expect(memory.readUint32(RAM_ADDRESS + 3)).toBe(0x07060504)
    expect(memory.readBigUint64(RAM_ADDRESS)).toBe(0x0807060504030201n)
    memory.writeUint8(RAM_ADDRESS, 0xff)
    memory.writeUint16(RAM_ADDRESS + 1, 0xeeee)
    memory.writeUint32(RAM_ADDRESS + 3, 0xdddddddd)
    expect(memory.readBigUint64(RAM_ADDRESS)).toBe(0x08ddddddddeeeeffn)
  })

  test('may lie over the border of two pages of different places in the machine', () => {
    using world = new World()
    const { guest } = world
    guest.depopulate(RAM + 1)
    guest.populate(RAM + 1)
    const address = (RAM + 1) * 4096 - 2
    guest.memory.writeUint32(address, 0x44332211)
    world.mapFrames([RAM, RAM + 1])
    expect(world.view.getUint16(4094, true)).toBe(0x2211)
    expect(world.view.getUint16(4096, true)).toBe(0x4433)
    expect(guest.memory.readUint32(address)).toBe(0x44332211)
  })
})

describe('out of RAM', () => {
  test.each([
    ['below', RAM_ADDRESS - 1],
    ['over the start', RAM_ADDRESS - 2],
    ['over the end', RAM_ADDRESS + 4 * MIB - 3],
    ['behind', RAM_ADDRESS + 4 * MIB],
    ['far away', 2 ** 52],
  ])('%s: an error that names the address', (_, address) => {
    using world = new World()
    const { memory } = world.guest
    const error = expect.objectContaining({ code: 'ERR_XMC_GUEST_ADDRESS', domain: 1, address })
    expect(() => memory.readUint32(address)).toThrow(error)
    expect(() => memory.writeUint32(address, 1)).toThrow(error)
    expect(() => memory.write(address, new Uint8Array(4))).toThrow(GuestAddressError)
  })

  test.each([-1, 0.5, Number.NaN, 2 ** 53])('%d is no address', (address) => {
    using world = new World()
    const call = () => world.guest.memory.readUint8(address)
    expect(call).toThrow(expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }))
  })

  test('a hole in the middle fails the whole access, and nothing is written', () => {
    using world = new World()
    const { memory } = world.guest
    world.guest.depopulate(RAM + 1)
    expect(() => memory.fill(RAM_ADDRESS, 3 * 4096, 0xff)).toThrow(GuestAddressError)
    expect(() => memory.read(RAM_ADDRESS, new Uint8Array(4097))).toThrow(GuestAddressError)
    expect(memory.readUint8(RAM_ADDRESS)).toBe(0)
    expect(() => memory.readUint8(RAM_ADDRESS + 4096)).toThrow(GuestAddressError)
    expect(memory.readUint8(RAM_ADDRESS + 2 * 4096)).toBe(0)
  })

  test('a frame that comes back is a new page of zeros', () => {
    using world = new World()
    world.guestWrite(RAM, 1)
    world.guest.depopulate(RAM)
    world.guest.populate(RAM)
    expect(world.guestRead(RAM)).toBe(0)
  })
})

describe('read, write, fill', () => {
  test('move bytes over pages and regions', () => {
    using hypervisor = new Hypervisor()
    const domain = hypervisor.createDomain({ memoryBytes: 0 })
    domain.populate(0x1000, 3)
    domain.populate(0x800000, 2)
    const source = Uint8Array.from({ length: 3 * 4096 }, (_, i) => i % 251)
    domain.memory.write(0x1000 * 4096, source)
    const target = new Uint8Array(3 * 4096 - 5)
    domain.memory.read(0x1000 * 4096 + 5, target)
    expect(target).toEqual(source.subarray(5))
    domain.memory.fill(0x800000 * 4096 + 4090, 12, 7)
    expect(domain.memory.readUint8(0x800001 * 4096 + 5)).toBe(7)
    expect(domain.memory.readUint8(0x800001 * 4096 + 6)).toBe(0)
  })

  test('memory beyond 1 GiB is in another region, and reads go over the border', () => {
    using hypervisor = new Hypervisor()
    const domain = hypervisor.createDomain({ memoryBytes: 2 ** 30 + 2 * MIB })
    const border = 0x40000000 + 2 ** 30
    domain.memory.writeUint32(border - 2, 0xaabbccdd)
    expect(domain.memory.readUint16(border)).toBe(0xaabb)
    expect(domain.memory.readUint32(border - 2)).toBe(0xaabbccdd)
    expect(() => domain.memory.view(border / 4096 - 1, 2)).toThrow(/crosses a region/)
  })
})

describe('view', () => {
  test('is shared with who maps the frames, and follows holes and new pages', () => {
    using world = new World()
    const view = world.guest.memory.view(RAM + 2, 2)
    world.mapFrames([RAM + 3])
    view[4096] = 0x5a
    expect(world.read(0)).toBe(0x5a)
    world.guest.depopulate(RAM + 3)
    expect(view[4096]).toBe(0)
    world.guest.populate(RAM + 3)
    view[4096] = 0x66
    expect(world.guestRead(RAM + 3)).toBe(0x66)
    expect(world.read(0)).toBe(0x5a)
  })

  test('of a hole throws', () => {
    using world = new World()
    expect(() => world.guest.memory.view(RAM - 1, 2)).toThrow(GuestAddressError)
  })
})

test('a domain of 4 GiB costs no memory until it is touched', async () => {
  using hypervisor = new Hypervisor({ name: 'four-gib' })
  const domain = hypervisor.createDomain({ memoryBytes: 4 * 2 ** 30 })
  domain.memory.writeUint8(0x40000000, 1)
  domain.memory.writeUint8(0x40000000 + 4 * 2 ** 30 - 1, 1)
  const { readdirSync, readlinkSync, fstatSync } = await import('node:fs')
  const fd = readdirSync('/proc/self/fd').find((number) => {
    try {
      return readlinkSync(`/proc/self/fd/${number}`).includes('memfd:four-gib')
    } catch {
      return false
    }
  })
  expect(fstatSync(Number(fd)).blocks * 512).toBe(2 * 4096)
})
