import { constants } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import { Hypervisor } from '../src/index.ts'
import { DEVICE_MODEL_OPERATION } from '../src/internal/dm-op.ts'
import { BIND_INTERDOMAIN, UNBIND } from '../src/internal/evtchn.ts'
import { MAP_RESOURCE } from '../src/internal/ioreq-page.ts'
import { XenKernel } from './helpers/xen.ts'

const { EINVAL, ENOSYS, EPERM } = constants.errno

let hypervisors: Hypervisor[] = []

afterEach(() => {
  for (const hypervisor of hypervisors) hypervisor.close()
  hypervisors = []
})

/** A device model of domain 1, over doubles of the kernel and of Xen. */
function world(kernel = new XenKernel(), domain = 1) {
  const hypervisor = new Hypervisor({}, () => kernel)
  hypervisors.push(hypervisor)
  return { kernel, hypervisor, model: hypervisor.deviceModel(domain) }
}

/** What another process left behind. */
function abandoned(...ids: readonly number[]) {
  const kernel = new XenKernel()
  for (const id of ids) {
    kernel.servers.set(id, { enabled: true, published: true, ranges: new Set(['0-7']) })
  }
  return world(kernel)
}

/** The first of what was recorded. */
function first(recorded: readonly Uint8Array[]): Uint8Array {
  const [bytes] = recorded
  if (bytes === undefined) throw new Error('nothing was recorded')
  return bytes
}

describe('DeviceModel', () => {
  it('hands Xen one buffer with one operation, all else zeros', () => {
    const { kernel, model } = world()
    expect(model.virtualCpus).toBe(2)
    const bytes = first(kernel.callsOf(DEVICE_MODEL_OPERATION))
    const view = new DataView(bytes.buffer)
    const address = view.getBigUint64(8, true)
    expect([view.getUint16(0, true), view.getUint16(2, true)]).toEqual([1, 1])
    expect(view.getBigUint64(16, true)).toBe(address + 16n)
    expect(view.getBigUint64(24, true)).toBe(32n)
    expect([...new Uint32Array(bytes.buffer, 32, 8)]).toEqual([20, 0, 0, 0, 0, 0, 0, 0])
    expect(bytes).toHaveLength(64)
  })

  it('makes a server that is not enabled, with its page mapped and a port for each virtual CPU', () => {
    const { kernel, model } = world()
    const server = model.createIoreqServer()
    expect(server).toMatchObject({ id: 0, domain: 1, adopted: false })
    expect(kernel.servers.get(0)).toEqual({ enabled: false, published: true, ranges: new Set() })
    expect([server.eventChannel(0), server.eventChannel(1)]).toEqual([20, 21])
    expect(server.page.byteLength).toBe(4096)
    expect(server.page.getUint32(24, true)).toBe(20)
    const resource = first(kernel.callsOf(MAP_RESOURCE))
    expect([...new Uint32Array(resource.buffer).subarray(0, 6)]).toEqual([1, 0, 0, 1, 1, 0])
    expect(model.ioreqServers).toEqual([server])
  })

  it('gives a server ranges and its state, and takes them away', () => {
    const { kernel, model } = world()
    const server = model.createIoreqServer()
    server.mapIoRange(0x200_0000n, 0x200_01ffn)
    server.enable()
    expect(kernel.servers.get(0)).toMatchObject({
      enabled: true,
      ranges: new Set(['33554432-33554943']),
    })
    server.disable()
    server.unmapIoRange(0x200_0000n, 0x200_01ffn)
    expect(kernel.servers.get(0)).toMatchObject({ enabled: false, ranges: new Set() })
    server.destroy()
    expect(kernel.servers.size).toBe(0)
    expect(server.page.getUint32(24, true)).toBe(0)
    expect(model.ioreqServers).toEqual([])
  })

  it('drives lines high and low', () => {
    const { kernel, model } = world()
    model.setInterruptLevel(33, true)
    model.setInterruptLevel(33, false)
    expect(kernel.levels).toEqual([
      [33, 1],
      [33, 0],
    ])
  })

  it('says with which errno Xen refuses, and why it likely does', () => {
    const { kernel, model } = world()
    const server = model.createIoreqServer()
    server.mapIoRange(0n, 7n)
    const refusals = [
      [() => server.mapIoRange(0n, 7n), 'EEXIST', 'has a part of the range'],
      [() => server.mapIoRange(8n, 7n), 'EINVAL', '0x8 to 0x7'],
      [() => server.mapIoRange(0n, 2n ** 64n), 'EINVAL', 'range map'],
      [() => server.unmapIoRange(8n, 9n), 'ENOENT', 'does not have all of the range'],
      [() => server.eventChannel(2), 'EINVAL', 'no such virtual CPU'],
      [() => server.eventChannel(128), 'EINVAL', 'no such virtual CPU'],
      [() => server.eventChannel(-1), 'EINVAL', 'no such virtual CPU'],
      [() => model.setInterruptLevel(31, true), 'EINVAL', 'no shared peripheral interrupt'],
      [() => model.setInterruptLevel(-1, true), 'EINVAL', 'line -1 of domain 1'],
    ] as const
    for (const [refused, errnoName, message] of refusals) {
      expect(refused).toThrow(
        expect.objectContaining({
          code: 'ERR_XMC_SYSTEM_CALL',
          errnoName,
          domain: 1,
          message: expect.stringContaining(message),
        }),
      )
    }
    kernel.refusal = ENOSYS
    for (const refused of [() => model.virtualCpus, () => model.createIoreqServer()]) {
      expect(refused).toThrow('build it with CONFIG_IOREQ_SERVER')
    }
    kernel.refusal = undefined
  })

  it('refuses calls on a server that was destroyed', () => {
    const { model } = world()
    const server = model.createIoreqServer()
    server.destroy()
    for (const call of [
      () => server.enable(),
      () => server.disable(),
      () => server.mapIoRange(0n, 1n),
      () => server.unmapIoRange(0n, 1n),
      () => server.eventChannel(0),
      () => server.destroy(),
    ]) {
      expect(call).toThrow(expect.objectContaining({ errnoName: 'ENOENT' }))
    }
  })

  it('says that there is no such domain', () => {
    const { model } = world(new XenKernel(), 9)
    expect(() => model.createIoreqServer()).toThrow('no domain has this id')
    expect(() => world(new XenKernel(), 0x7ff0)).toThrow('domain id')
  })

  it('has at most 8 servers', () => {
    const { model } = world()
    for (let id = 0; id < 8; id++) model.createIoreqServer()
    expect(() => model.createIoreqServer()).toThrow(
      expect.objectContaining({ errnoName: 'ENOSPC' }),
    )
  })

  it.each([
    ['resource', (kernel: XenKernel) => void (kernel.resourceRefusal = EPERM)],
    ['mapping', (kernel: XenKernel) => void (kernel.mapsFail = true)],
  ])('leaves no server behind when its page cannot be mapped: %s', (_, refuse) => {
    const kernel = new XenKernel()
    refuse(kernel)
    const { model } = world(kernel)
    expect(() => model.createIoreqServer()).toThrow('ioreq page map')
    expect(kernel.servers.size).toBe(0)
  })

  it('destroys its servers when it is closed, once', () => {
    const { kernel, hypervisor, model } = world()
    const [server] = [model.createIoreqServer(), model.createIoreqServer()]
    model.close()
    model.close()
    expect(kernel.servers.size).toBe(0)
    expect(server.page.getUint32(24, true)).toBe(0)
    expect(() => model.virtualCpus).toThrow(expect.objectContaining({ code: 'ERR_XMC_CLOSED' }))
    hypervisor.close()
    expect(kernel.openPaths).toEqual([])
  })

  it('closes without an error when the servers went with the guest', () => {
    const { kernel, hypervisor, model } = world()
    model.createIoreqServer()
    kernel.domains.clear()
    kernel.servers.clear()
    hypervisor.close()
    expect(model.ioreqServers).toEqual([])
    expect(kernel.openPaths).toEqual([])
  })
})

describe('adoptIoreqServer', () => {
  it('finds nothing where there is no server, and none of its own', () => {
    const { model } = abandoned()
    expect(model.adoptIoreqServer()).toBeUndefined()
    model.createIoreqServer()
    expect(model.adoptIoreqServer()).toBeUndefined()
  })

  it('takes a server that nobody is bound to, with the ranges that it has', () => {
    const { kernel, model } = abandoned(1)
    kernel.answer(BIND_INTERDOMAIN, 40)
    const server = model.adoptIoreqServer()
    expect(server).toMatchObject({ id: 1, adopted: true })
    expect(server!.eventChannel(1)).toBe(21)
    expect(
      kernel.callsOf(BIND_INTERDOMAIN).map((bytes) => [...new Uint32Array(bytes.buffer)]),
    ).toEqual([[1, 20]])
    expect(kernel.callsOf(UNBIND)).toHaveLength(1)
    server!.mapIoRange(0n, 7n)
    server!.mapIoRange(8n, 15n)
    expect(kernel.servers.get(1)).toMatchObject({ enabled: true, ranges: new Set(['0-7', '8-15']) })
  })

  it('leaves a server alone that somebody is bound to', () => {
    const { kernel, model } = abandoned(0)
    kernel.answer(BIND_INTERDOMAIN, -EINVAL)
    expect(model.adoptIoreqServer()).toBeUndefined()
    expect(kernel.servers.size).toBe(1)
    model.close()
    expect(kernel.servers.size).toBe(1)
  })

  it('keeps one of several, the first, and destroys the others', () => {
    const { kernel, model } = abandoned(0, 2, 5)
    kernel.answer(BIND_INTERDOMAIN, -EINVAL, 40, 41)
    expect(model.adoptIoreqServer()?.id).toBe(2)
    expect([...kernel.servers.keys()]).toEqual([0, 2])
  })

  it('takes one that was made and never enabled', () => {
    const { kernel, model } = abandoned()
    kernel.servers.set(0, { enabled: false, published: false, ranges: new Set() })
    const server = model.adoptIoreqServer()
    expect(server?.eventChannel(0)).toBe(20)
    expect(kernel.servers.get(0)?.enabled).toBe(false)
  })

  it('passes over a server of another domain’s device model, and throws what else is refused', () => {
    const { kernel, model } = abandoned(0)
    kernel.resourceRefusal = EPERM
    expect(model.adoptIoreqServer()).toBeUndefined()
    kernel.resourceRefusal = ENOSYS
    expect(() => model.adoptIoreqServer()).toThrow('CONFIG_IOREQ_SERVER')
  })
})
