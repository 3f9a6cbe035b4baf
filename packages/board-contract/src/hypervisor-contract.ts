import assert from 'node:assert/strict'
import { IOREQ_TYPE_COPY, IOREQ_TYPE_INVALIDATE } from '@xmc/arm-virt'
import { available } from '@xmc/contract'
import { openWindow } from '@xmc/hostmem'
import { grantReference, guestFrame, windowPage } from '@xmc/interface'
import {
  assertRefused,
  BASE,
  guestOf,
  type HypervisorCase,
  Recorder,
  settle,
  until,
} from './steps.ts'

/** A line that the guest has no other use for. */
const LINE = 33

/** What every provider of `Hypervisor` must do: the cases H1 to H24. */
export const hypervisorContract: readonly HypervisorCase[] = [
  {
    id: 'H1',
    title: 'tells the guest, its RAM in whole pages and in order, and its virtual CPUs',
    requires: [],
    run: async ({ hypervisor }) => {
      assert(Number.isInteger(hypervisor.domain) && hypervisor.domain > 0)
      assert(hypervisor.virtualCpus >= 1 && hypervisor.virtualCpus <= 128)
      assert.equal(hypervisor.end, undefined)
      let last = -1n
      for (const { address, size } of hypervisor.ram) {
        assert(address > last && size > 0n)
        assert.equal((address | size) & 4095n, 0n)
        last = address + size - 1n
      }
      assert(last > 0n)
    },
  },
  {
    id: 'H2',
    title: 'maps the guest by frame and by reference, and counts both',
    requires: ['guest'],
    run: async (provider) => {
      const { hypervisor } = provider
      const guest = guestOf(provider)
      const { spare } = provider
      await guest.store(spare + 0x1003n, 0x5a)
      const reference = await guest.grant(3, 0xa5)
      const window = openWindow({ pageCount: 2 })
      const { domain } = hypervisor
      const bytes = new Uint8Array(window.buffer, window.byteOffset, 8192)
      const { memoryCalls } = hypervisor.usage
      hypervisor.foreign.map({
        domain,
        window,
        windowPage: windowPage(0),
        frames: [guestFrame(Number((spare + 0x1000n) >> 12n))],
        writable: true,
      })
      hypervisor.grants.map({
        domain,
        window,
        windowPage: windowPage(1),
        references: [grantReference(reference)],
        writable: true,
      })
      assert.equal(bytes[3], 0x5a)
      assert.equal(bytes[4099], 0xa5)
      assert.deepEqual(hypervisor.usage, {
        mappedPages: 2,
        pinnedGrants: 1,
        memoryCalls: memoryCalls + 2,
      })
      assert(hypervisor.leftovers().length >= 2)
      hypervisor.foreign.unmap(window, windowPage(0), 1)
      hypervisor.grants.unmap(window, windowPage(1), 1)
      assert.deepEqual(hypervisor.usage, {
        mappedPages: 0,
        pinnedGrants: 0,
        memoryCalls: memoryCalls + 4,
      })
      assert.deepEqual(hypervisor.leftovers(), [])
      window.close()
    },
  },
  {
    id: 'H3',
    title: 'hands over a read, and gives the guest the answer',
    requires: ['guest'],
    run: async (provider) => {
      const recorder = new Recorder(provider, [0x89ab_cdef, 0x0123_4567])
      recorder.start(provider)
      const guest = guestOf(provider)
      const address = BASE + 0x104n
      assert.equal(await guest.access({ address, size: 4, write: false }), 0x89ab_cdefn)
      assert.equal(
        await guest.access({ address: BASE + 8n, size: 8, write: false }),
        0x0123_4567_89ab_cdefn,
      )
      const [first] = recorder.requests
      assert(first !== undefined)
      const { page, offset, size, count, read, dataIsPointer, type } = first.request
      assert.deepEqual(
        { page, offset, size, count, read, dataIsPointer, type },
        {
          page: 0x2000,
          offset: 0x104,
          size: 4,
          count: 1,
          read: true,
          dataIsPointer: false,
          type: IOREQ_TYPE_COPY,
        },
      )
      recorder.close()
    },
  },
  ...([1, 2, 4, 8] as const).map(
    (size, index): HypervisorCase => ({
      id: `H${4 + index}`,
      title: `hands over a write of ${size} bytes with all of its value`,
      requires: ['guest'],
      run: async (provider) => {
        const recorder = new Recorder(provider)
        recorder.start(provider)
        const data = 0xf0e1_d2c3_b4a5_9687n & ((1n << BigInt(size * 8)) - 1n)
        await guestOf(provider).access({ address: BASE + 16n, size, write: true, data })
        const [first] = recorder.requests
        assert(first !== undefined)
        assert.equal(first.request.read, false)
        assert.equal(first.request.size, size)
        assert.equal((BigInt(first.request.dataHigh) << 32n) | BigInt(first.request.dataLow), data)
        recorder.close()
      },
    }),
  ),
  {
    id: 'H8',
    title: 'hands over accesses of its ranges only',
    requires: ['guest'],
    run: async (provider) => {
      const recorder = new Recorder(provider)
      recorder.start(provider, BASE, BASE + 0x1ffn)
      const guest = guestOf(provider)
      await guest.access({ address: BASE + 0x1fcn, size: 4, write: true })
      await guest.access({ address: BASE + 0x200n, size: 4, write: true })
      assert.deepEqual(
        recorder.requests.map(({ request }) => request.offset),
        [0x1fc],
      )
      recorder.close()
    },
  },
  {
    id: 'H9',
    title: 'hands over nothing of a range that was taken away',
    requires: ['guest'],
    run: async (provider) => {
      const recorder = new Recorder(provider)
      recorder.start(provider)
      recorder.server.unmapRange(BASE, BASE + 0xfffn)
      await guestOf(provider).access({ address: BASE, size: 4, write: true })
      assert.equal(recorder.requests.length, 0)
      recorder.close()
    },
  },
  {
    id: 'H10',
    title: 'hands over nothing before it is enabled, nor after it is disabled',
    requires: ['guest'],
    run: async (provider) => {
      const recorder = new Recorder(provider)
      recorder.server.mapRange(BASE, BASE + 0xfffn)
      recorder.bind(provider.hypervisor.virtualCpus)
      const guest = guestOf(provider)
      await guest.access({ address: BASE, size: 4, write: true })
      assert.equal(recorder.requests.length, 0)
      recorder.server.enable()
      await guest.access({ address: BASE, size: 4, write: true })
      assert.equal(recorder.requests.length, 1)
      recorder.server.disable()
      await guest.access({ address: BASE, size: 4, write: true })
      assert.equal(recorder.requests.length, 1)
      recorder.close()
    },
  },
  {
    id: 'H11',
    title: 'refuses a range that it has a part of, and one that is none',
    requires: [],
    run: async (provider) => {
      const server = provider.hypervisor.createIoreqServer()
      server.mapRange(BASE, BASE + 0xfffn)
      assertRefused(() => server.mapRange(BASE + 0x800n, BASE + 0x1800n), 'EEXIST')
      assertRefused(() => server.mapRange(BASE + 0x2000n, BASE + 0x1000n), 'EINVAL')
      assertRefused(() => server.unmapRange(BASE + 0x4000n, BASE + 0x4fffn), 'ENOENT')
      server.close()
    },
  },
  {
    id: 'H12',
    title: 'gives each virtual CPU a slot and a channel of its own',
    requires: ['guest', 'processors'],
    run: async (provider) => {
      const recorder = new Recorder(provider)
      recorder.start(provider)
      const guest = guestOf(provider)
      await Promise.all([
        guest.access({ address: BASE + 4n, size: 4, write: true, virtualCpu: 1 }),
        guest.access({ address: BASE, size: 4, write: true, virtualCpu: 0 }),
      ])
      const seen = recorder.requests.map(({ virtualCpu, request }) => [virtualCpu, request.offset])
      assert.deepEqual(
        seen.toSorted((a, b) => a[0]! - b[0]!),
        [
          [0, 0],
          [1, 4],
        ],
      )
      recorder.close()
    },
  },
  {
    id: 'H13',
    title: 'refuses to bind a virtual CPU that is not there',
    requires: [],
    run: async ({ hypervisor }) => {
      const server = hypervisor.createIoreqServer()
      assertRefused(() => server.bind(hypervisor.virtualCpus, () => {}), 'EINVAL')
      server.close()
    },
  },
  {
    id: 'H14',
    title: 'calls a listener once at the start, when there is no request',
    requires: [],
    run: async (provider) => {
      const recorder = new Recorder(provider)
      recorder.bind(1)
      await until('the first call', () => recorder.wakes > 0)
      await settle()
      assert.equal(recorder.wakes, 1)
      assert.equal(recorder.requests.length, 0)
      recorder.close()
    },
  },
  {
    id: 'H15',
    title: 'asks to drop mappings when the guest gives memory up',
    requires: ['ballooning'],
    run: async (provider) => {
      const recorder = new Recorder(provider)
      recorder.start(provider)
      await available(provider.capabilities.ballooning).giveUp()
      await until('the request', () => recorder.requests.length > 0)
      assert.equal(recorder.requests[0]?.request.type, IOREQ_TYPE_INVALIDATE)
      recorder.close()
    },
  },
  {
    id: 'H16',
    title: 'drives an interrupt line high and low',
    requires: ['interrupts'],
    run: async (provider) => {
      const { hypervisor } = provider
      const guest = available(provider.capabilities.interrupts)
      assert.equal(await guest.interruptLevel(LINE), false)
      hypervisor.setInterruptLevel(LINE, true)
      assert.equal(await guest.interruptLevel(LINE), true)
      assert.equal(await guest.interruptLevel(LINE + 1), false)
      hypervisor.setInterruptLevel(LINE, true)
      hypervisor.setInterruptLevel(LINE, false)
      assert.equal(await guest.interruptLevel(LINE), false)
    },
  },
  {
    id: 'H17',
    title: 'refuses a line that is no shared peripheral interrupt',
    requires: [],
    run: async ({ hypervisor }) => {
      assertRefused(() => hypervisor.setInterruptLevel(31, true), 'EINVAL')
      assertRefused(() => hypervisor.setInterruptLevel(1020, true), 'EINVAL')
    },
  },
  ...(['shutdown', 'crashed', 'destroyed'] as const).map(
    (how, index): HypervisorCase => ({
      id: `H${18 + index}`,
      title: `tells once that the guest ended: ${how}`,
      requires: ['ending'],
      run: async ({ hypervisor, capabilities }) => {
        const seen: string[] = []
        hypervisor.onEnd((end) => void seen.push(end))
        const unsubscribe = hypervisor.onEnd((end) => void seen.push(`unsubscribed ${end}`))
        unsubscribe()
        await available(capabilities.ending).end(how)
        await until('the call', () => seen.length > 0)
        await settle()
        assert.deepEqual(seen, [how])
        assert.equal(hypervisor.end, how)
      },
    }),
  ),
  {
    id: 'H21',
    title: 'tells whoever asks later that the guest has ended, not at once',
    requires: ['ending'],
    run: async ({ hypervisor, capabilities }) => {
      await available(capabilities.ending).end('destroyed')
      const seen: string[] = []
      hypervisor.onEnd((end) => void seen.push(end))
      assert.deepEqual(seen, [])
      await until('the call', () => seen.length > 0)
      assert.deepEqual(seen, ['destroyed'])
    },
  },
  {
    id: 'H22',
    title: 'lets go of a guest that was destroyed, without an error',
    requires: ['ending'],
    run: async (provider) => {
      const { hypervisor, capabilities } = provider
      const recorder = new Recorder(provider)
      recorder.start(provider)
      const channel = recorder.server.bind.bind(recorder.server)
      await available(capabilities.ending).end('destroyed')
      hypervisor.setInterruptLevel(LINE, true)
      hypervisor.setInterruptLevel(LINE, false)
      assert.throws(() => channel(0, () => {}))
      recorder.close()
      assert.deepEqual(hypervisor.leftovers(), [])
    },
  },
  {
    id: 'H23',
    title: 'has nothing left of a server that was closed, and closes it once',
    requires: [],
    run: async (provider) => {
      const recorder = new Recorder(provider)
      recorder.start(provider)
      assert(provider.hypervisor.leftovers().length > 0)
      recorder.close()
      recorder.close()
      assert.deepEqual(provider.hypervisor.leftovers(), [])
      assertRefused(() => recorder.server.enable(), 'ENOENT')
      assertRefused(() => recorder.server.mapRange(BASE, BASE), 'ENOENT')
    },
  },
  {
    id: 'H24',
    title: 'unmaps what is left when it is closed, and closes once',
    requires: ['guest'],
    run: async (provider) => {
      const { hypervisor } = provider
      const { spare } = provider
      await guestOf(provider).store(spare, 7)
      const window = openWindow({ pageCount: 1 })
      hypervisor.foreign.map({
        domain: hypervisor.domain,
        window,
        windowPage: windowPage(0),
        frames: [guestFrame(Number(spare >> 12n))],
        writable: false,
      })
      const bytes = new Uint8Array(window.buffer, window.byteOffset, 1)
      assert.equal(bytes[0], 7)
      hypervisor.close()
      hypervisor.close()
      assert.equal(bytes[0], 0)
      assert.equal(hypervisor.usage.mappedPages, 0)
      window.close()
    },
  },
]
