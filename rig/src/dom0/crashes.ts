import { deepEqual, equal, ok } from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { openWindow } from '@xmc/hostmem'
import { domainId, guestFrame, windowPage } from '@xmc/interface'
import { Hypervisor, type SharedPages } from '@xmc/xen'
import { reservedFrames } from '../guest/memory-layout.ts'
import { until } from '../time/waiting.ts'
import { guestDomain } from './guest.ts'
import { caseSuite, type Suite } from './suite.ts'

const PROGRAM = fileURLToPath(new URL('./children/crash.js', import.meta.url))

/** What could end a process, or keep it from ending; each in a process of its own. */
export const crashes: Suite = caseSuite('crashes', [
  {
    id: 'K1',
    title:
      'stale views read zeros, no page of a bad map ends the process, a child of it inherits nothing',
    run: () =>
      withSharedPage(async (page) => {
        const found = await child('stale-views,failed-pages,parent', page)
        deepEqual(found, ended('zeros\nEINVAL ESRCH EINVAL\nnothing\n'))
      }),
  },
  {
    id: 'K2',
    title: 'a process that is killed leaves no grant, and its notification is done',
    run: () =>
      withSharedPage(async (page) => {
        page.bytes[100] = 0xff
        equal((await child('killed', page)).signal, 'SIGKILL')
        deepEqual([page.bytes[100], page.bytes[200]], [0, 7])
        equal(possibleMappings(page), 128)
      }),
  },
  {
    id: 'K3',
    title: 'a process that ends without closing anything ends at once, and leaves nothing',
    run: () =>
      withSharedPage(async (page) => {
        deepEqual(await child('careless', page), ended('open\n'))
        equal(possibleMappings(page), 128)
      }),
  },
  {
    id: 'K4',
    title: 'no mapping of a device is copied to a process that forks off',
    run: () =>
      withSharedPage(async ({ references }) => {
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
      withSharedPage(async (page) => {
        const { status, signal, stdout } = await child('unprotected-page', page)
        equal(stdout, '0 -22 ')
        equal(status, null)
        ok(signal === 'SIGKILL' || signal === 'SIGBUS', `ended by a signal, not ${signal}`)
      }),
  },
  {
    id: 'K6',
    title: 'control: a store through a raw view of a read-only mapping does end a process',
    run: () =>
      withSharedPage(async (page) => {
        const { signal, stdout } = await child('read-only-store', page)
        deepEqual({ signal, stdout }, { signal: 'SIGSEGV', stdout: 'mapped ' })
      }),
  },
])

interface ChildEnd {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
}

/** Runs a scenario with a page that this process shares. A child that takes too long is killed: some mistakes spin in the kernel for ever. */
async function child(
  scenario: string,
  page: SharedPages,
): Promise<ChildEnd & { readonly stderr: string }> {
  const [reference = 0] = page.references
  const process = spawn(globalThis.process.execPath, [PROGRAM, scenario, String(reference)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  process.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  process.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const closed = once(process, 'close')
  try {
    await until(
      `the child for ${scenario} does not end`,
      () => process.exitCode !== null || process.signalCode !== null,
    )
  } finally {
    process.kill('SIGKILL')
  }
  await closed
  return { status: process.exitCode, signal: process.signalCode, stdout, stderr }
}

function ended(stdout: string): ChildEnd & { readonly stderr: string } {
  return { status: 0, signal: null, stdout, stderr: '' }
}

async function withSharedPage(action: (page: SharedPages) => Promise<void>): Promise<void> {
  using hypervisor = new Hypervisor()
  await action(hypervisor.sharePages({ to: 0, pageCount: 1 }))
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
