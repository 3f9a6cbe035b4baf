import { deepEqual, ok } from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { openWindow } from '@xmc/hostmem'
import { domainId, guestFrame, windowPage } from '@xmc/interface'
import { Hypervisor } from '@xmc/xen'
import { holeFrame, reservedFrames } from '../guest/memory-layout.ts'
import { guestDomain } from './guest.ts'
import { countMappings } from './providers/process-mappings.ts'
import { caseSuite, type Suite } from './suite.ts'

const OWN = domainId(0)
const START = windowPage(0)

/** Bytes that the process may have more after all cycles: what V8 keeps for itself. */
const TOLERATED_BYTES = 24 * 2 ** 20

/** Cycles that must leave nothing behind, in this process and as far as it sees in the kernel. */
export const growth: Suite = caseSuite('growth', [
  {
    id: 'W1',
    title: '1,000 grants mapped and unmapped, in both forms',
    async run() {
      using hypervisor = new Hypervisor()
      using window = openWindow({ pageCount: 16 })
      using table = hypervisor.grantTable()
      const { references } = hypervisor.sharePages({ to: 0, pageCount: 4 })
      const request = { domain: OWN, window, windowPage: START, references }
      await withoutGrowth(1000, async (turn) => {
        if (turn % 2 === 0) {
          table.map({ ...request, writable: true })
          table.unmap(window, START, 4)
        } else {
          await table.mapAsync({ ...request, writable: false })
          await table.unmapAsync(window, START, 4)
        }
      })
    },
  },
  {
    id: 'W2',
    title: '1,000 foreign maps with holes',
    async run() {
      using hypervisor = new Hypervisor()
      using window = openWindow({ pageCount: 16 })
      using memory = hypervisor.foreignMemory()
      const { first } = reservedFrames
      const frames = [first, holeFrame, first + 1, first + 2, holeFrame].map(guestFrame)
      const errors = new Int32Array(5)
      const request = { domain: domainId(guestDomain), window, windowPage: START, frames, errors }
      await withoutGrowth(1000, async (turn) => {
        if (turn % 2 === 0) memory.map({ ...request, writable: true })
        else await memory.mapAsync({ ...request, writable: false })
        memory.unmap(window, START, 5)
      })
    },
  },
  {
    id: 'W3',
    title: '2,048 pages shared and taken back, more than there may be at a time',
    async run() {
      using hypervisor = new Hypervisor()
      await withoutGrowth(16, () => hypervisor.sharePages({ to: 0, pageCount: 128 }).close())
    },
  },
  {
    id: 'W4',
    title: '100 devices opened and closed, with something mapped',
    async run() {
      using hypervisor = new Hypervisor()
      using window = openWindow({ pageCount: 16 })
      const { references } = hypervisor.sharePages({ to: 0, pageCount: 1 })
      await withoutGrowth(100, () => {
        const table = hypervisor.grantTable()
        table.map({ domain: OWN, window, windowPage: START, references, writable: true })
        table.close()
        hypervisor.foreignMemory().close()
      })
    },
  },
  {
    id: 'W5',
    title: '200 pairs of event channels, bound and closed, get the same ports again',
    async run() {
      using hypervisor = new Hypervisor()
      const { eventChannels } = hypervisor
      eventChannels.allocateUnbound(OWN, OWN)
      const highest = new Set<number>()
      await withoutGrowth(200, () => {
        const offered = eventChannels.allocateUnbound(OWN, OWN)
        const bound = eventChannels.bindInterdomain(OWN, OWN, offered)
        highest.add(Math.max(offered, bound))
        eventChannels.close(OWN, bound)
        eventChannels.close(OWN, offered)
      })
      ok(highest.size <= 8, `the same ports come again, not ${highest.size} of them`)
    },
  },
])

async function withoutGrowth(cycles: number, cycle: (turn: number) => unknown): Promise<void> {
  // The first cycles make what stays: compiled code, buffers for system calls.
  for (let turn = 0; turn < 20; turn++) await cycle(turn)
  const before = inUse()
  const residentBefore = residentBytes()
  for (let turn = 0; turn < cycles; turn++) await cycle(turn)
  deepEqual(inUse(), before)
  const grown = residentBytes() - residentBefore
  ok(grown < TOLERATED_BYTES, `${grown} bytes more are resident`)
}

/** What the process has of the kernel. */
function inUse(): Readonly<Record<string, number>> {
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    gntdev: countMappings('/dev/xen/gntdev'),
    gntalloc: countMappings('/dev/xen/gntalloc'),
    privcmd: countMappings('/dev/xen/privcmd'),
  }
}

function residentBytes(): number {
  globalThis.gc?.()
  return Number(readFileSync('/proc/self/statm', 'latin1').split(' ')[1]) * 4096
}
