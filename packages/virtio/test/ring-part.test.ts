import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import {
  availableEventOffset,
  type GuestRange,
  usedRingSize,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
} from '../src/index.ts'
import { EchoDevice } from './doubles/devices.ts'
import { GuestMemoryDouble } from './doubles/guest-memory.ts'
import { DATA, Machine, type TestQueue, turns } from './doubles/machine.ts'

const OUT = { at: DATA, length: 4 }
const IN = { at: DATA + 64, length: 4, write: true }

/** Memory in several regions, whose borders end every range; it notes what is kept and what is reported. */
class RegionMemory extends GuestMemoryDouble {
  /** Bytes from the start, ascending. */
  borders: number[] = []
  /** Stores that were reported, as `place+length`. */
  readonly stores: string[] = []
  kept = 0
  /** Whether ranges are copies. */
  bounced = false

  override map(page: number, offset: number, length: number, write: boolean): GuestRange {
    return this.noted(super.map(page, offset, this.cut(page, offset, length), write), page, offset)
  }

  override async mapAsync(
    page: number,
    offset: number,
    length: number,
    write: boolean,
  ): Promise<GuestRange> {
    const cut = this.cut(page, offset, length)
    return this.noted(await super.mapAsync(page, offset, cut, write), page, offset)
  }

  private cut(page: number, offset: number, length: number): number {
    const start = page * 4096 + offset
    const border = this.borders.find((at) => at > start) ?? Number.POSITIVE_INFINITY
    return Math.min(length, border - start)
  }

  private noted(range: GuestRange, page: number, offset: number): GuestRange {
    const start = page * 4096 + offset
    return {
      ...range,
      bounced: this.bounced,
      keep: () => this.kept++,
      wrote: (at, length) => {
        if (at + length > range.bytes.length) throw new RangeError(`${length} bytes at ${at}`)
        this.stores.push(`${start + at}+${length}`)
      },
    }
  }
}

function machineWith(borders: number[], mapping: 'synchronous' | 'asynchronous' = 'synchronous') {
  const memory = new RegionMemory(64)
  memory.borders = borders
  return { memory, machine: new Machine(new EchoDevice([{ size: 64 }]), { memory, mapping }) }
}

/** Sends `count` requests one after the other and gives what came back of each. */
async function echoes(machine: Machine, queue: TestQueue, count: number): Promise<string[]> {
  const answers: string[] = []
  for (let request = 0; request < count; request++) {
    machine.put(DATA, String(request).padStart(4, '0'))
    machine.put(IN.at, '----')
    machine.send(queue, [OUT, IN], (2 * request) % queue.size)
    await turns(2)
    answers.push(machine.text(IN.at, 4))
  }
  return answers
}

describe('a ring over borders of memory regions', () => {
  test.each(['synchronous', 'asynchronous'] as const)('%s mapping: works', async (mapping) => {
    // In the descriptor table, the available ring and the used ring of a queue of 64.
    const borders = [512, 1024 + 64, 4096 + 100, 4096 + 400]
    const { memory, machine } = machineWith(borders, mapping)
    machine.negotiate(VIRTIO_F_EVENT_IDX)
    const queue = machine.enable(machine.queue(0, 64))
    machine.driverOk()
    await turns()
    expect(memory.live).toBe(7)
    expect(memory.kept).toBe(7)
    expect(await echoes(machine, queue, 200)).toEqual(
      Array.from({ length: 200 }, (_, request) => String(request).padStart(4, '0')),
    )
    expect(machine.usedIndex(queue)).toBe(200)
    expect(machine.availableEvent(queue)).toBe(200)
    expect(machine.transport.fault).toBeUndefined()
    machine.negotiate()
    expect(memory.live).toBe(0)
  })

  test('an indirect table may lie over one', async () => {
    const { machine } = machineWith([DATA + 4096 + 8, DATA + 4096 + 24])
    const queue = machine.start(4, VIRTIO_F_INDIRECT_DESC)
    machine.put(DATA, 'ping')
    machine.chain(DATA + 4096, 0, [OUT, IN])
    machine.descriptor(queue.descriptors, 0, {
      address: machine.deviceAddress(DATA + 4096),
      length: 32,
      flags: 4,
    })
    machine.offer(queue, 0)
    machine.notify(queue)
    await turns()
    expect(machine.text(IN.at, 4)).toBe('ping')
  })

  test.each([
    ['descriptor table', 2],
    ['descriptor table', 13],
    ['available ring', 64 * 16 + 5],
    ['used ring', 4096 + 2],
    ['used ring', 4096 + 7],
  ])('one that cuts a field of the %s, at %i, is refused with its reason', (name, border) => {
    const { memory, machine } = machineWith([border])
    machine.start(64)
    expect(machine.transport.fault).toMatchObject({
      reason: 'ring-unmapped',
      message: expect.stringMatching(
        new RegExp(
          `a border of memory regions \\d+ bytes behind the start of the ${name} cuts a field`,
        ),
      ),
    })
    expect(memory.live).toBe(0)
    expect(machine.transport.mappedRanges).toBe(0)
  })

  test('what is not RAM is refused with its reason', () => {
    const { memory, machine } = machineWith([])
    memory.bounced = true
    machine.start(64)
    expect(machine.transport.fault).toMatchObject({
      reason: 'ring-unmapped',
      message: expect.stringContaining('the descriptor table is not RAM'),
    })
    expect(memory.live).toBe(0)
  })

  test('wherever the borders are, the device does the same', async () => {
    const border = fc
      .integer({ min: 1, max: (4096 + usedRingSize(64)) >> 2 })
      .map((word) => 4 * word)
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(border, { maxLength: 12 }), async (borders) => {
        const { memory, machine } = machineWith(borders.toSorted((a, b) => a - b))
        const queue = machine.start(64, VIRTIO_F_EVENT_IDX)
        const answers = await echoes(machine, queue, 70)
        expect(answers.at(-1)).toBe('0069')
        expect(machine.used(queue).map(({ id }) => id)).toHaveLength(70)
        expect(machine.availableEvent(queue)).toBe(70)
        machine.negotiate()
        expect(memory.live).toBe(0)
      }),
      propertyRuns(20),
    )
  })
})

describe('stores into the used ring', () => {
  test('are reported as they are made: element, index and, with EVENT_IDX, avail_event', () => {
    const { memory, machine } = machineWith([])
    const queue = machine.start(64, VIRTIO_F_EVENT_IDX)
    machine.send(queue, [OUT, IN])
    const { used } = queue
    expect(new Set(memory.stores)).toEqual(
      new Set([
        `${used + 4}+4`,
        `${used + 8}+4`,
        `${used + 2}+2`,
        `${used + availableEventOffset(64)}+2`,
      ]),
    )
  })

  test('on both sides of a border, at their places', () => {
    const { memory, machine } = machineWith([4096 + 8])
    const queue = machine.start(64)
    machine.send(queue, [OUT, IN])
    expect(memory.stores).toEqual(['4100+4', '4104+4', '4098+2'])
  })
})
