import { deepEqual, equal, ok, throws } from 'node:assert/strict'
import { openWindow } from '@xmc/hostmem'
import {
  domainId,
  type GrantCopySegment,
  type GrantMapRequest,
  grantReference,
  guestFrame,
  windowPage,
} from '@xmc/interface'
import { Hypervisor, XenCallError } from '@xmc/xen'
import { holeFrame, reservedFrames } from '../guest/memory-layout.ts'
import { guestDomain } from './guest.ts'
import { caseSuite, type Suite } from './suite.ts'

const OWN = domainId(0)
const GUEST = domainId(guestDomain)
const ABSENT = domainId(77)
const START = windowPage(0)

/** What real Xen answers to what it refuses, as the errors of the package tell it. */
export const failures: Suite = caseSuite('failures', [
  {
    id: 'T1',
    title: 'gntalloc shares 1,024 pages at a time; one more is ENOSPC, until some are given back',
    run() {
      using hypervisor = new Hypervisor()
      const pages = hypervisor.sharePages({ to: 0, pageCount: 1024 })
      const more = (): unknown => hypervisor.sharePages({ to: 0, pageCount: 1 })
      refused(more, 'share pages', 'ENOSPC', /limit of pages/)
      pages.close()
      refused(
        () => hypervisor.sharePages({ to: 0, pageCount: 1025 }),
        'share pages',
        'ENOSPC',
        /limit of pages/,
      )
      equal(hypervisor.sharePages({ to: 0, pageCount: 1024 }).references.length, 1024)
    },
  },
  {
    id: 'T2',
    title: 'every bad grant map is EINVAL, with the likely reasons',
    run() {
      using hypervisor = new Hypervisor()
      using window = openWindow({ pageCount: 16 })
      using table = hypervisor.grantTable()
      const [mine = 0] = hypervisor.sharePages({ to: 0, pageCount: 1 }).references
      const [others = 0] = hypervisor.sharePages({ to: 5, pageCount: 1 }).references
      const [readOnly = 0] = hypervisor.sharePages({
        to: 0,
        pageCount: 1,
        readonly: true,
      }).references
      const map = (references: readonly number[], change: Partial<GrantMapRequest> = {}) => {
        const request = { domain: OWN, window, windowPage: START, writable: true }
        table.map({ ...request, references: references.map(grantReference), ...change })
      }
      const bad: readonly (() => void)[] = [
        () => map([0xffff_fff0]),
        () => map([0xffff]),
        () => map([3]),
        () => map([mine], { domain: ABSENT }),
        () => map([others]),
        () => map([readOnly]),
        () => map([mine, 0xffff_fff0]),
        () => map([]),
      ]
      for (const call of bad) refused(call, 'grant map', 'EINVAL', /not granted to this domain/)
      map([mine])
      map([readOnly], { writable: false, windowPage: windowPage(1) })
    },
  },
  {
    id: 'T3',
    title: 'a map takes 65,536 references at the kernel, and 65,537 not',
    run() {
      using hypervisor = new Hypervisor()
      using window = openWindow({ pageCount: 65_537 })
      using table = hypervisor.grantTable()
      const { references } = hypervisor.sharePages({ to: 0, pageCount: 512 })
      const list = (count: number) =>
        Array.from({ length: count }, (_, index) => references[index % 512] ?? grantReference(0))
      const request = { domain: OWN, window, windowPage: START, writable: true }
      const error = refused(
        () => table.map({ ...request, references: list(65_537) }),
        'grant map',
        'EINVAL',
        /more than 65,536/,
      )
      equal(error.pageCount, 65_537)
      equal(error.cause, undefined, 'it is refused before anything is mapped')
      // Each reference 128 times, which is as often as Xen allows.
      const view = new DataView(window.buffer, window.byteOffset)
      try {
        table.map({ ...request, references: list(65_536) })
        view.setUint32(65_535 * 4096, 0x1234)
        equal(view.getUint32(511 * 4096), 0x1234, 'the last page is that of the last reference')
        table.unmap(window, START, 65_536)
      } catch (refusal) {
        // The kernel has not so many pages to map them behind: not a matter of the count.
        ok(refusal instanceof XenCallError && refusal.errnoName === 'ENOMEM', String(refusal))
      }
      table.map({ ...request, references: list(8192) })
      view.setUint32(8191 * 4096, 0x5678)
      equal(view.getUint32(511 * 4096), 0x5678)
      table.unmap(window, START, 8192)
    },
  },
  {
    id: 'T4',
    title: 'unmaps that are not a mapping’s own are EINVAL',
    run() {
      using hypervisor = new Hypervisor()
      using window = openWindow({ pageCount: 16 })
      using table = hypervisor.grantTable()
      const { references } = hypervisor.sharePages({ to: 0, pageCount: 3 })
      table.map({ domain: OWN, window, windowPage: START, references, writable: true })
      const reason = /no mapping has this start and this count/
      refused(() => table.unmap(window, START, 2), 'grant unmap', 'EINVAL', reason)
      refused(() => table.unmap(window, windowPage(1), 2), 'grant unmap', 'EINVAL', reason)
      table.unmap(window, START, 3)
      refused(() => table.unmap(window, START, 3), 'grant unmap', 'EINVAL', reason)
    },
  },
  {
    id: 'T5',
    title: 'notifications that cannot be arranged are ENOENT and EINVAL',
    run() {
      using hypervisor = new Hypervisor()
      using window = openWindow({ pageCount: 16 })
      using table = hypervisor.grantTable()
      const { references } = hypervisor.sharePages({ to: 0, pageCount: 1 })
      const arrange = (notify: { clearByte?: number; eventChannel?: number }) => () =>
        table.setUnmapNotify(window, START, notify)
      const operation = 'grant unmap notify'
      refused(arrange({ clearByte: 0 }), operation, 'ENOENT', /no mapping starts there/)
      table.map({ domain: OWN, window, windowPage: START, references, writable: false })
      refused(arrange({ clearByte: 0 }), operation, 'EINVAL', /read-only/)
      refused(arrange({ eventChannel: 4000 }), operation, 'EINVAL', /port is not open/)
      table.unmap(window, START, 1)
    },
  },
  {
    id: 'T6',
    title: 'a copy has a status for each segment, and none of them stops the others',
    run() {
      using hypervisor = new Hypervisor()
      using table = hypervisor.grantTable()
      const pages = hypervisor.sharePages({ to: 0, pageCount: 1 })
      const [others = 0] = hypervisor.sharePages({ to: 5, pageCount: 1 }).references
      const [readOnly = 0] = hypervisor.sharePages({
        to: 0,
        pageCount: 1,
        readonly: true,
      }).references
      pages.bytes.fill(7)
      const [mine = 0] = pages.references
      const good = copy(mine)
      const statuses = table.copy([
        copy(others),
        copy(mine, { domain: ABSENT }),
        copy(0xffff_fff0),
        copy(3),
        copy(mine, { offset: 4090 }),
        copy(readOnly, { direction: 'to-grant' }),
        good,
      ])
      deepEqual([...statuses], [-1, -2, -3, -1, -10, -1, 0])
      deepEqual(
        [...good.bytes],
        Array.from({ length: 16 }, () => 7),
      )
    },
  },
  {
    id: 'T7',
    title: 'foreign frames are ESRCH for no domain and for the own one, EINVAL for holes',
    run() {
      using hypervisor = new Hypervisor()
      using window = openWindow({ pageCount: 16 })
      using memory = hypervisor.foreignMemory()
      const good = guestFrame(reservedFrames.first)
      const hole = guestFrame(holeFrame)
      const map = (domain: number, errors?: Int32Array) => () =>
        memory.map({
          domain: domainId(domain),
          window,
          windowPage: START,
          frames: [good, hole],
          writable: true,
          errors,
        })
      refused(map(ABSENT), 'foreign map', 'ESRCH', /no domain has this id/)
      refused(map(ABSENT, new Int32Array(2)), 'foreign map', 'ESRCH', /no domain has this id/)
      refused(map(OWN), 'foreign map', 'ESRCH', /caller's own/)
      const error = refused(map(GUEST), 'foreign map', 'EINVAL', /no memory behind it/)
      deepEqual([error.domain, error.firstPage, error.pageCount], [guestDomain, Number(good), 2])
      const errors = new Int32Array(2)
      map(GUEST, errors)()
      deepEqual([...errors], [0, 22])
    },
  },
  {
    id: 'T8',
    title: 'a domain id of Xen’s own is refused before Xen is asked',
    run() {
      // DOMID_SELF
      throws(() => domainId(0x7ff0), { code: 'ERR_XMC_ARGUMENT' })
    },
  },
])

/** Reads 16 bytes of a page that dom0 granted to itself, but for what is said otherwise. */
function copy(reference: number, change: Partial<GrantCopySegment> = {}): GrantCopySegment {
  const bytes = new Uint8Array(16)
  const segment = { domain: OWN, reference: grantReference(reference), offset: 0, bytes }
  return { ...segment, direction: 'from-grant', ...change }
}

/** Asserts that a call is refused, with all that the error is to tell. */
function refused(
  call: () => unknown,
  operation: string,
  errnoName: string,
  reason: RegExp,
): XenCallError {
  let error: unknown
  try {
    call()
  } catch (thrown) {
    error = thrown
  }
  ok(error instanceof XenCallError, `refused with an XenCallError, not ${String(error)}`)
  equal(error.code, 'ERR_XMC_SYSTEM_CALL')
  equal(error.operation, operation)
  equal(error.errnoName, errnoName, error.message)
  ok(
    error.likelyReasons.some((likely) => reason.test(likely)),
    `${error.likelyReasons.join('; ')} say ${reason}`,
  )
  return error
}
