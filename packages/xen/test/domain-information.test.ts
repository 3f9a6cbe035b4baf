import { constants } from 'node:os'
import { domainId } from '@xmc/interface'
import { afterEach, describe, expect, it } from 'vitest'
import { Hypervisor } from '../src/index.ts'
import { HYPERCALL } from '../src/internal/hypercall.ts'
import { XenKernel } from './helpers/xen.ts'

const { EPERM } = constants.errno
const GUEST = domainId(1)

let open: Hypervisor | undefined

afterEach(() => open?.close())

function world() {
  const kernel = new XenKernel()
  open = new Hypervisor({}, () => kernel)
  return { kernel, hypervisor: open, domains: open.domains() }
}

describe('Domains', () => {
  it('tells what Xen knows of a domain', () => {
    const { kernel, domains } = world()
    kernel.domains.get(1)!.maximumPages = 0x2100
    expect(domains.information(GUEST)).toEqual({
      domain: 1,
      dying: false,
      shutdownCode: undefined,
      paused: false,
      pages: 0x2000,
      maximumPages: 0x2100,
      virtualCpus: 2,
    })
  })

  it.each([
    [0x0000_0008, { paused: true, dying: false, shutdownCode: undefined }],
    [0x0000_0004, { paused: false, dying: false, shutdownCode: 0 }],
    [0x0003_0004, { paused: false, dying: false, shutdownCode: 3 }],
    [0x0003_0005, { paused: false, dying: true, shutdownCode: 3 }],
    [0x0000_0001, { paused: false, dying: true, shutdownCode: undefined }],
  ])('tells with the flags %i that it is %j', (flags, expected) => {
    const { kernel, domains } = world()
    kernel.domains.get(1)!.flags = flags
    expect(domains.information(GUEST)).toMatchObject(expected)
  })

  it('knows no domain where Xen has none, or tells of the next one', () => {
    const { kernel, domains } = world()
    expect(domains.information(domainId(2))).toBeUndefined()
    kernel.domains.set(7, { virtualCpus: 1, flags: 0, pages: 1, maximumFrame: 1 })
    expect(domains.information(domainId(2))).toBeUndefined()
    expect(domains.information(domainId(7))?.domain).toBe(7)
  })

  it('finds the version of the interface once', () => {
    const { kernel, domains } = world()
    kernel.interfaceVersion = 0x17
    expect(domains.information(GUEST)?.virtualCpus).toBe(2)
    expect(kernel.callsOf(HYPERCALL)).toHaveLength(3)
    domains.information(GUEST)
    expect(kernel.callsOf(HYPERCALL)).toHaveLength(4)
  })

  it('says that it does not know the version', () => {
    const { kernel, domains } = world()
    kernel.interfaceVersion = 0x99
    expect(() => domains.information(GUEST)).toThrow('version of the domain control interface')
  })

  it('says that this domain may not ask', () => {
    const { kernel, domains } = world()
    kernel.answer(HYPERCALL, -EPERM, -EPERM)
    expect(() => domains.information(GUEST)).toThrow('not privileged enough')
    expect(() => domains.maximumFrame(GUEST)).toThrow('not privileged enough')
  })

  it('tells the highest frame', () => {
    const { domains } = world()
    expect(domains.maximumFrame(GUEST)).toBe(0x41fff)
    expect(() => domains.maximumFrame(domainId(3))).toThrow('no domain has this id')
  })

  it('closes its devices once, by itself or with the hypervisor', () => {
    const { kernel, hypervisor, domains } = world()
    expect(kernel.openPaths).toEqual(['/dev/xen/privcmd', '/dev/xen/hypercall'])
    domains.close()
    domains.close()
    expect(kernel.openPaths).toEqual([])
    hypervisor.domains()
    hypervisor.close()
    expect(kernel.openPaths).toEqual([])
    expect(() => domains.information(GUEST)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_CLOSED' }),
    )
  })

  it.each(['/dev/xen/privcmd', '/dev/xen/hypercall'])('leaves nothing open without %s', (path) => {
    const kernel = new XenKernel()
    kernel.refusedPaths.set(path, constants.errno.ENOENT)
    open = new Hypervisor({}, () => kernel)
    expect(() => open!.domains()).toThrow(expect.objectContaining({ device: path }))
    expect(kernel.openPaths).toEqual([])
  })
})
