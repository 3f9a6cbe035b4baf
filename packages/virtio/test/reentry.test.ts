import { describe, expect, test } from 'vitest'
import {
  type DescriptorChain,
  type GuestRange,
  MmioTransport,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
} from '../src/index.ts'
import { EchoDevice, HoldingDevice } from './doubles/devices.ts'
import { GuestMemoryDouble } from './doubles/guest-memory.ts'
import { DATA, Machine, type TestQueue, turns } from './doubles/machine.ts'

const OUT = { at: DATA, length: 4 }
const IN = { at: DATA + 4096, length: 4, write: true }

/** What foreign code may do with the device while it is called. */
const ACTIONS: Record<string, (machine: Machine) => void> = {
  'resets it': (machine) => machine.write(0x070, 0),
  'takes the queue away': (machine) => {
    machine.write(0x030, 0)
    machine.write(0x044, 0)
  },
  'closes it': (machine) => void machine.transport.close(),
  'breaks it': (machine) => {
    // A queue size that no device takes.
    machine.write(0x030, 1)
    machine.write(0x038, 3)
    machine.write(0x044, 1)
  },
}

/** When foreign code is called: arms it, so that it acts once. */
type Moment = (scene: Scene, act: () => void) => void

interface Scene {
  readonly machine: Machine
  readonly memory: WatchedMemory
  readonly device: EchoDevice
}

/** Memory whose stores into ranges that stay mapped are followed. */
class WatchedMemory extends GuestMemoryDouble {
  onWrote: (() => void) | undefined

  override map(page: number, offset: number, length: number, write: boolean): GuestRange {
    const range = super.map(page, offset, length, write)
    return { ...range, wrote: () => this.onWrote?.() }
  }
}

function once(act: () => void): () => void {
  let left = 1
  return () => {
    if (left === 0) return
    left -= 1
    act()
  }
}

const MOMENTS: Record<string, Moment> = {
  'a buffer is mapped': ({ memory }, act) => {
    memory.onMap = (page) => {
      if (page === IN.at / 4096) act()
    }
  },
  'an indirect table is read': ({ memory }, act) => {
    memory.onMap = (page) => {
      if (page === DATA / 4096 + 2) act()
    }
  },
  'a buffer is released': ({ memory }, act) => {
    memory.onRelease = (page) => {
      if (page === OUT.at / 4096) act()
    }
  },
  'the last buffer is released': ({ memory }, act) => {
    memory.onRelease = (page) => {
      if (page === IN.at / 4096) act()
    }
  },
  'the device handles a request': ({ device }, act) => {
    const handle = device.handle.bind(device)
    device.handle = (chain: DescriptorChain) => {
      act()
      return handle(chain)
    }
  },
  'the device is asked whether it is ready': ({ device }, act) => {
    Object.assign(device, {
      ready: () => {
        act()
        return true
      },
    })
  },
  'the interrupt is raised': ({ machine }, act) => {
    machine.onInterrupt = (high) => {
      if (high) act()
    }
  },
  'a store into the used ring is followed': ({ memory }, act) => {
    memory.onWrote = act
  },
}

/** A machine with a request that is ready to be notified, by way of an indirect table. */
function ready(): Scene & { readonly queue: TestQueue } {
  const memory = new WatchedMemory(64)
  const device = new EchoDevice()
  const machine = new Machine(device, { memory })
  const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX)
  machine.put(OUT.at, 'ping')
  const table = DATA + 2 * 4096
  machine.chain(table, 0, [OUT, IN])
  const address = machine.deviceAddress(table)
  for (const head of [0, 1]) {
    machine.descriptor(queue.descriptors, head, { address, length: 32, flags: 4 })
    machine.offer(queue, head)
  }
  return { machine, memory, device, queue }
}

describe.each(Object.keys(ACTIONS))('a guest that %s', (action) => {
  test.each(Object.keys(MOMENTS))(
    'while %s: nothing more is published, raised or mapped',
    async (moment) => {
      const scene = ready()
      const { machine, memory, queue } = scene
      let used: number | undefined
      let raised = 0
      MOMENTS[moment]?.(
        scene,
        once(() => {
          ACTIONS[action]?.(machine)
          used = machine.usedIndex(queue)
          raised = machine.levels.filter((high) => high).length
        }),
      )
      machine.notify(queue)
      await turns(5)
      await machine.transport.drained()
      expect(used).toBeDefined()
      expect(machine.usedIndex(queue)).toBe(used)
      expect(machine.levels.filter((high) => high).length).toBe(raised)
      const broken = action === 'breaks it'
      expect(machine.read(0x070)).toBe(
        broken ? 15 | 64 : action === 'takes the queue away' ? 15 : 0,
      )
      expect(machine.faults.length).toBe(broken ? 1 : 0)
      expect(machine.transport).toMatchObject({ inFlight: 0, mappedRanges: 0, draining: false })
      expect(machine.transport.statistics.bytesInFlight).toBe(0)
      expect(memory.live).toBe(0)
    },
  )
})

describe('a guest that resets the device and starts it anew', () => {
  test.each(Object.keys(MOMENTS))(
    'while %s: only what it asks for then is served',
    async (moment) => {
      const scene = ready()
      const { machine, memory, queue } = scene
      let acted = false
      MOMENTS[moment]?.(
        scene,
        once(() => {
          acted = true
          machine.write(0x070, 0)
          machine.memory.bytes.fill(0, 0, DATA)
          // Where requests are being given back, the reset is not complete yet.
          machine.start(4)
          if (machine.read(0x070) !== 15) return
          machine.chain(queue.descriptors, 2, [IN])
          machine.offer(queue, 2)
          machine.notify(queue)
        }),
      )
      machine.notify(queue)
      await turns(5)
      expect(acted).toBe(true)
      const status = machine.read(0x070)
      expect([0, 15]).toContain(status)
      const served = machine.used(queue).map(({ id }) => id)
      expect(served).toEqual(status === 15 ? [2] : [])
      expect(machine.faults).toEqual([])
      expect(memory.live).toBe(status === 15 ? 3 : 0)
      await machine.transport.close()
      expect(memory.live).toBe(0)
    },
  )
})

describe('rings', () => {
  test('a reset while they are being mapped leaves none mapped', () => {
    const memory = new GuestMemoryDouble(64)
    const machine = new Machine(new EchoDevice(), { memory })
    machine.negotiate()
    machine.enable(machine.queue(0, 4))
    machine.enable(machine.queue(1, 4))
    memory.onMap = once(() => machine.write(0x070, 0))
    machine.driverOk()
    expect(machine.read(0x070)).toBe(0)
    expect(memory.live).toBe(0)
    expect(machine.transport.mappedRanges).toBe(0)
  })

  test('stores while they are released are ignored until the reset is complete', () => {
    const memory = new GuestMemoryDouble(64)
    const machine = new Machine(new EchoDevice(), { memory })
    machine.start(4)
    memory.onRelease = once(() => {
      machine.write(0x070, 1)
      machine.write(0x050, 0)
    })
    machine.write(0x070, 0)
    expect(machine.read(0x070)).toBe(0)
    expect(machine.transport.statistics).toMatchObject({ ignored: 2, resets: 2 })
    expect(memory.live).toBe(0)
  })
})

describe('a device that is called', () => {
  test.each(['start', 'stop'] as const)('may reset itself from its %s', async (method) => {
    const device = new EchoDevice()
    const machine = new Machine(device)
    Object.assign(device, { [method]: once(() => machine.write(0x070, 0)) })
    machine.negotiate()
    machine.enable(machine.queue(0, 4))
    machine.driverOk()
    if (method === 'stop') machine.write(0x070, 0)
    expect(machine.read(0x070)).toBe(0)
    expect(machine.memory.live).toBe(0)
    await turns(2)
    expect(machine.faults).toEqual([])
    machine.memory.bytes.fill(0, 0, DATA)
    const queue = machine.start(4)
    machine.send(queue, [IN])
    expect(machine.usedIndex(queue)).toBe(1)
  })

  test('a start that fails after the guest has reset the device says so of no later state', async () => {
    const device = new EchoDevice()
    const machine = new Machine(device)
    Object.assign(device, {
      start: once(() => {
        machine.write(0x070, 0)
        machine.negotiate()
        throw new Error('too late')
      }),
    })
    machine.negotiate()
    machine.enable(machine.queue(0, 4))
    machine.driverOk()
    expect(machine.read(0x070)).toBe(11)
    expect(machine.transport.fault).toBeUndefined()
    await turns(1)
    expect(machine.faults.map(({ message }) => message)).toEqual(['too late'])
  })

  test('while it is attached may ask for its queues', () => {
    const device = new EchoDevice()
    Object.assign(device, {
      attach: (host: { resume(queue: number): void; configurationChanged(): void }) => {
        host.resume(0)
        host.resume(7)
        host.configurationChanged()
      },
    })
    const memory = new GuestMemoryDouble(1)
    const transport = new MmioTransport({ device, memory, interrupt: { setLevel: () => {} } })
    expect(transport.status).toBe(0)
  })

  test('learns of a request whose driver is gone', async () => {
    const device = new HoldingDevice()
    const machine = new Machine(device)
    const queue = machine.start(4)
    machine.send(queue, [IN])
    const chain = device.held[0]?.chain
    expect(chain?.abandoned).toBe(false)
    machine.write(0x070, 0)
    expect(chain?.abandoned).toBe(true)
    device.held[0]?.resolve(4)
    await machine.transport.drained()
    expect(machine.usedIndex(queue)).toBe(0)
  })
})
