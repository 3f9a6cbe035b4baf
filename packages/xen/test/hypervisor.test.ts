import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { domainId } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { Hypervisor, XenUnavailableError } from '../src/index.ts'
import { BIND_UNBOUND_PORT } from '../src/internal/evtchn.ts'
import { Kernel } from './helpers/kernel.ts'

const { EACCES, ENODEV } = constants.errno

describe('on a machine without Xen', () => {
  const withXen = existsSync('/dev/xen/gntdev')

  it('is made and closed, and the first use says what is missing', ({ skip }) => {
    skip(withXen, 'this machine has Xen')
    using hypervisor = new Hypervisor()
    const uses = [
      [() => hypervisor.foreignMemory(), '/dev/xen/privcmd'],
      [() => hypervisor.grantTable(), '/dev/xen/gntdev'],
      [() => hypervisor.sharePages({ to: 1, pageCount: 1 }), '/dev/xen/gntalloc'],
      [() => hypervisor.eventChannels.allocateUnbound(domainId(0), domainId(1)), '/dev/xen/evtchn'],
    ] as const
    for (const [use, device] of uses) {
      expect(use).toThrow(
        expect.objectContaining({
          code: 'ERR_XMC_XEN_UNAVAILABLE',
          device,
          errnoName: 'ENOENT',
          message: expect.stringContaining('this machine does not run under Xen'),
        }),
      )
    }
  })

  it('what to do depends on the errno', () => {
    const privileges = new XenUnavailableError('/dev/xen/privcmd', EACCES)
    expect(privileges.message).toBe(
      '/dev/xen/privcmd cannot be opened (EACCES): run as root, or let your user read and write the device; doctor() tells more',
    )
    expect(new XenUnavailableError('/dev/xen/privcmd', ENODEV).message).toContain(
      'does not run under Xen',
    )
  })
})

describe('Hypervisor', () => {
  it('opens each device when it is asked for, and closes all of them once', () => {
    const kernel = new Kernel()
    kernel.answer(BIND_UNBOUND_PORT, 5)
    const hypervisor = new Hypervisor({}, () => kernel)
    expect(kernel.openPaths).toEqual([])
    hypervisor.foreignMemory()
    hypervisor.grantTable()
    const pages = hypervisor.sharePages({ to: 1, pageCount: 1 })
    hypervisor.sharePages({ to: 1, pageCount: 1 })
    hypervisor.eventChannels.allocateUnbound(domainId(0), domainId(1))
    const paths = ['/dev/xen/privcmd', '/dev/xen/gntdev', '/dev/xen/gntalloc', '/dev/xen/evtchn']
    expect(kernel.openPaths).toEqual(paths)
    hypervisor.close()
    hypervisor.close()
    expect(kernel.openPaths).toEqual([])
    expect(kernel.closed).toHaveLength(4)
    expect(pages.bytes[0]).toBe(0)
  })

  it('forgets a device that was closed before it', () => {
    const kernel = new Kernel()
    using hypervisor = new Hypervisor({}, () => kernel)
    hypervisor.grantTable().close()
    hypervisor.foreignMemory().close()
    hypervisor.sharePages({ to: 1, pageCount: 1 }).close()
    hypervisor.close()
    expect(kernel.closed).toHaveLength(3)
  })

  it('opens nothing after its close', () => {
    const hypervisor = new Hypervisor({}, () => new Kernel())
    hypervisor.close()
    for (const use of [
      () => hypervisor.foreignMemory(),
      () => hypervisor.grantTable(),
      () => hypervisor.sharePages({ to: 1, pageCount: 1 }),
      () => hypervisor.eventChannels.allocateUnbound(domainId(0), domainId(1)),
    ]) {
      expect(use).toThrow(expect.objectContaining({ code: 'ERR_XMC_CLOSED' }))
    }
  })

  it('acts for the domain of its program alone', () => {
    const kernel = new Kernel()
    using hypervisor = new Hypervisor({ domain: 3 }, () => kernel)
    expect(() => hypervisor.foreignMemory(0)).toThrow('caller')
    expect(() => hypervisor.grantTable(0)).toThrow('caller')
    expect(hypervisor.grantTable(3, { name: 'disk' }).name).toBe('disk')
    expect(hypervisor.foreignMemory().name).toBe('foreign')
  })

  it.each([
    { domain: 0x7ff0 },
    { pagingRetry: { attempts: -1 } },
    { pagingRetry: { intervalMilliseconds: Number.NaN } },
  ])('refuses the options %j', (options) => {
    expect(() => new Hypervisor(options)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT' }),
    )
  })
})
