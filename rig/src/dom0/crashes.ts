import { deepEqual, equal, ok } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { openWindow, windowPage } from '@xmc/hostmem'
import { domainId, guestFrame, Hypervisor, type SharedPages } from '@xmc/xen'
import { reservedFrames } from '../guest/memory-layout.ts'
import { guestDomain } from './guest.ts'
import { caseSuite, type Suite } from './suite.ts'

const PROGRAM = fileURLToPath(new URL('./children/crash.js', import.meta.url))

/** A child that takes longer is killed: some mistakes spin in the kernel for ever. */
const LIMIT_MILLISECONDS = 30_000

/** What could end a process, or keep it from ending; each in a process of its own. */
export const crashes: Suite = caseSuite('crashes', [
  {
    id: 'K1',
    title:
      'stale views read zeros, no page of a bad map ends the process, a child of it inherits nothing',
    run: () =>
      withSharedPage((page) => {
        const found = child('stale-views,failed-pages,parent', page)
        deepEqual(found, ended('zeros\nEINVAL ESRCH EINVAL\nnothing\n'))
      }),
  },
  {
    id: 'K2',
    title: 'a process that is killed leaves no grant, and its notification is done',
    run: () =>
      withSharedPage((page) => {
        page.bytes[100] = 0xff
        equal(child('killed', page).signal, 'SIGKILL')
        deepEqual([page.bytes[100], page.bytes[200]], [0, 7])
        equal(possibleMappings(page), 128)
      }),
  },
  {
    id: 'K3',
    title: 'a process that ends without closing anything ends at once, and leaves nothing',
    run: () =>
      withSharedPage((page) => {
        deepEqual(child('careless', page), ended('open\n'))
        equal(possibleMappings(page), 128)
      }),
  },
  {
    id: 'K4',
    title: 'no mapping of a device is copied to a process that forks off',
    run: () =>
      withSharedPage(({ references }) => {
        using hypervisor = new Hypervisor()
        using window = openWindow({ pageCount: 16 })
        const target = { window, windowPage: windowPage(0), writable: true }
        hypervisor.grantTable().map({ domain: domainId(0), references, ...target })
        const frames = { first: guestFrame(reservedFrames.first), count: 1 }
        const memory = hypervisor.foreignMemory()
        memory.map({ domain: domainId(guestDomain), frames, ...target, windowPage: windowPage(8) })
        for (const device of ['gntdev', 'gntalloc', 'privcmd']) {
          // Others in this process map the guest, too.
          deepEqual([...new Set(forkFlags(`/dev/xen/${device}`))], ['dc'], device)
        }
      }),
  },
  {
    id: 'K5',
    title: 'control: a page that failed, unprotected, does end a process',
    run: () =>
      withSharedPage((page) => {
        const { status, signal, stdout } = child('unprotected-page', page)
        equal(stdout, '0 -22 ')
        equal(status, null)
        ok(signal === 'SIGKILL' || signal === 'SIGBUS', `ended by a signal, not ${signal}`)
      }),
  },
  {
    id: 'K6',
    title: 'control: a store through a raw view of a read-only mapping does end a process',
    run: () =>
      withSharedPage((page) => {
        const { signal, stdout } = child('read-only-store', page)
        deepEqual({ signal, stdout }, { signal: 'SIGSEGV', stdout: 'mapped ' })
      }),
  },
])

interface ChildEnd {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
}

/** Runs a scenario with a page that this process shares. */
function child(scenario: string, page: SharedPages): ChildEnd & { readonly stderr: string } {
  const [reference = 0] = page.references
  const parameters = [PROGRAM, scenario, String(reference)]
  const { error, status, signal, stdout, stderr } = spawnSync(process.execPath, parameters, {
    encoding: 'utf8',
    timeout: LIMIT_MILLISECONDS,
    killSignal: 'SIGKILL',
  })
  if (error !== undefined) throw error
  return { status, signal, stdout, stderr }
}

function ended(stdout: string): ChildEnd & { readonly stderr: string } {
  return { status: 0, signal: null, stdout, stderr: '' }
}

function withSharedPage(action: (page: SharedPages) => void): void {
  using hypervisor = new Hypervisor()
  action(hypervisor.sharePages({ to: 0, pageCount: 1 }))
}

/** For each memory area of a device, whether a child is kept from it: the flag `dc`, or nothing. */
function forkFlags(device: string): string[] {
  return readFileSync('/proc/self/smaps', 'utf8')
    .split(/^(?=[0-9a-f]+-)/m)
    .filter((area) => area.split('\n')[0]?.endsWith(` ${device}`) === true)
    .map((area) => (/^VmFlags:.* dc( |$)/m.test(area) ? 'dc' : ''))
}

/** How often the page can still be mapped for writing, up to the limit of Xen's. */
function possibleMappings({ references }: SharedPages): number {
  using hypervisor = new Hypervisor()
  using window = openWindow({ pageCount: 128 })
  const table = hypervisor.grantTable()
  let count = 0
  for (; count < 128; count++) {
    const target = { window, windowPage: windowPage(count), writable: true }
    table.map({ domain: domainId(0), references, ...target })
  }
  return count
}
