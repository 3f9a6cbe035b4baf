import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { QueueRing } from '../src/driver/queue-ring.ts'
import { newStatistics } from '../src/driver/statistics.ts'
import { DriverVirtqueue, type QueuePolicy } from '../src/driver/virtqueue.ts'
import { Watchdog } from '../src/driver/watchdog.ts'
import type { DmaMapper } from '../src/driver.ts'
import { GuestDouble } from './doubles/driver-guest.ts'

interface Rig {
  readonly queue: DriverVirtqueue
  readonly ring: QueueRing
  readonly completed: number[]
  readonly takenBack: number[]
  readonly failures: Error[]
}

let guest: GuestDouble
beforeEach(() => {
  guest = new GuestDouble({ frames: 128 })
})

function rig(size: number, policy: Partial<QueuePolicy> = {}, dma: DmaMapper = guest.granted): Rig {
  const ring = new QueueRing(size, guest.frames, dma)
  const completed: number[] = []
  const takenBack: number[] = []
  const failures: Error[] = []
  const queue = new DriverVirtqueue({
    index: 0,
    ring: ring.writer,
    user: {
      completed: (token) => completed.push(token),
      takenBack: (token) => takenBack.push(token),
    },
    policy: {
      eventIndex: true,
      indirectDescriptors: false,
      indirectFrom: 4,
      keepTables: false,
      ...policy,
    },
    pages: guest.frames,
    dma,
    watchdog: new Watchdog(Number.POSITIVE_INFINITY, () => undefined),
    statistics: newStatistics(),
    notify: async () => undefined,
    fail: (error) => {
      failures.push(error)
      queue.stop()
    },
  })
  return { queue, ring, completed, takenBack, failures }
}

function use({ queue }: Rig, head: number): void {
  const { ring } = queue
  ring.setUsedElement(ring.usedIndex, head, 0)
  ring.usedIndex++
}

test('2.7.13.2 indexes wrap at 2^16, and nothing is lost or mixed up', () => {
  const set = rig(4, {}, guest.plain)
  const { queue, completed } = set
  for (let i = 0; i < 70_000; i++) {
    queue.begin(2)
    queue.addMapped(1, 0, 16, false)
    queue.addMapped(2, 0, 16, true)
    queue.commit(i)
    use(set, queue.ring.availableHead(i))
    queue.process()
    if (completed.at(-1) !== i) break
  }
  expect(completed.length).toBe(70_000)
  expect(completed.at(-1)).toBe(69_999)
  expect(queue.ring.availableIndex).toBe(70_000 - 65_536)
  expect(queue.freeCount).toBe(4)
})

test('2.7.5 chains in flight share no descriptor, whatever the order of completion', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.nat()), { maxLength: 60 }),
      fc.boolean(),
      (steps, indirectDescriptors) => {
        guest = new GuestDouble({ frames: 64 })
        const set = rig(8, { indirectDescriptors })
        const { queue } = set
        const heads = new Map<number, number>()
        const mistakes: string[] = []
        let token = 0
        for (const [count, choice] of steps) {
          if (queue.begin(count)) {
            const frame = guest.frames.allocate(1)
            if (frame === undefined) break
            for (let i = 0; i < count; i++) queue.add(frame, i, 1, 'to-device')
            const position = queue.ring.availableIndex
            if (!queue.commit(token)) mistakes.push(`chain ${token} was not committed`)
            heads.set(token, queue.ring.availableHead(position))
            guest.frames.free(frame, 1)
            token++
          } else {
            const tokens = [...heads.keys()]
            const done = tokens[choice % tokens.length] ?? -1
            use(set, heads.get(done) ?? -1)
            heads.delete(done)
            queue.process()
            if (set.completed.at(-1) !== done) mistakes.push(`chain ${done} did not complete`)
          }
          const used = [...heads.values()].flatMap((head) => {
            const chain = [head]
            for (let at = queue.ring.readDescriptor(head); at.flags & 1; ) {
              chain.push(at.next)
              at = queue.ring.readDescriptor(at.next)
            }
            return chain
          })
          expect(new Set(used).size).toBe(used.length)
          expect(queue.freeCount).toBe(8 - used.length)
          expect(queue.inFlight).toBe(heads.size)
        }
        expect(mistakes).toEqual([])
        expect(set.failures).toEqual([])
        queue.close(new Error('reset'))
        expect(set.takenBack.toSorted((a, b) => a - b)).toEqual([...heads.keys()])
        set.ring.close()
        expect(guest.grants.entries.size).toBe(0)
        expect(guest.frames.takenCount).toBe(0)
      },
    ),
    propertyRuns(100),
  )
})

describe('indirect tables', () => {
  test('2.7.5.3 one descriptor points to the table, which the device can only read', () => {
    const { queue } = rig(8, { indirectDescriptors: true })
    const frame = guest.frames.allocate(1)
    if (frame === undefined) throw new Error('no frame')
    queue.begin(4)
    for (let i = 0; i < 3; i++) queue.add(frame, 16 * i, 16, 'to-device')
    queue.add(frame, 48, 1, 'from-device')
    queue.commit(0)
    const descriptor = queue.ring.readDescriptor(0)
    expect(descriptor).toMatchObject({ offset: 0, length: 64, flags: 4 })
    expect(queue.freeCount).toBe(7)
    expect(guest.grants.entries.get(descriptor.page - 2 ** 51)).toMatchObject({ readOnly: true })
    const table = guest.bytesAt(descriptor.page, 0, 64)
    const flags = [0, 1, 2, 3].map((i) => table[16 * i + 12])
    expect(flags).toEqual([1, 1, 1, 2])
    expect([0, 1, 2].map((i) => table[16 * i + 14])).toEqual([1, 2, 3])
  })

  test('without a page for a table, a chain that fits goes directly, and another waits', () => {
    const { queue } = rig(8, { indirectDescriptors: true })
    guest.frames.allocate(guest.frames.freeCount)
    expect(queue.begin(5)).toBe(true)
    for (let i = 0; i < 5; i++) queue.addMapped(1, i, 1, false)
    queue.commit(0)
    expect(queue.freeCount).toBe(3)
    expect(queue.begin(4)).toBe(false)
  })

  test('while half of the queue is taken, short chains take one descriptor, and single buffers none more', () => {
    const { queue } = rig(8, { indirectDescriptors: true })
    const free = [2, 2, 2, 1].map((count) => {
      queue.begin(count)
      for (let i = 0; i < count; i++) queue.addMapped(1, i, 1, false)
      queue.commit(0)
      return queue.freeCount
    })
    expect(free).toEqual([6, 4, 3, 2])
    const flags = [0, 2, 4, 5].map((index) => queue.ring.readDescriptor(index).flags)
    expect(flags).toEqual([1, 1, 4, 0])
  })

  test('2.7.5.3.1 no chain is longer than the queue', () => {
    const { queue } = rig(4, { indirectDescriptors: true })
    expect(() => queue.begin(5)).toThrow('count: expected an integer from 1 to 4, got 5')
    expect(() => queue.begin(0)).toThrow('count')
  })
})

describe('a chain that cannot be mapped', () => {
  test.each([false, true])('is undone, indirect or not (%s)', (indirectDescriptors) => {
    guest = new GuestDouble({ frames: 64, references: 8 + 2 + 4 })
    const { queue, failures } = rig(8, { indirectDescriptors })
    const frame = guest.frames.allocate(1)
    if (frame === undefined) throw new Error('no frame')
    const before = guest.grants.entries.size
    queue.begin(5)
    const added = Array.from({ length: 5 }, (_, i) => i).findIndex(
      (i) => !queue.add(frame, i, 1, 'to-device'),
    )
    expect(added).toBe(4)
    expect(guest.grants.entries.size).toBe(before)
    expect(queue.freeCount).toBe(8)
    // Four buffers take the last references: none is left for a table.
    queue.begin(4)
    for (let i = 0; i < 4; i++) expect(queue.add(frame, i, 1, 'to-device')).toBe(true)
    expect(queue.commit(0)).toBe(!indirectDescriptors)
    expect(guest.grants.entries.size).toBe(indirectDescriptors ? before : before + 4)
    expect(failures).toEqual([])
  })
})

test('2.7.7.2 interrupts are asked for from the next chain on', () => {
  const set = rig(4)
  const { queue } = set
  queue.begin(1)
  queue.addMapped(1, 0, 1, true)
  queue.commit(5)
  use(set, 0)
  expect(queue.enableInterrupts()).toBe(true)
  queue.process()
  expect(set.completed).toEqual([5])
  expect(queue.enableInterrupts()).toBe(false)
  expect(queue.ring.usedEvent).toBe(1)
})
