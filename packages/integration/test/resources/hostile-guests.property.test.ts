import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { DiskMachine } from '@xmc/arm-virt'
import { memoryAreas } from '@xmc/hostmem'
import { DEFAULT_REPORT_BURST, DEFAULT_REPORT_KINDS } from '@xmc/interface'
import { MemoryDisk } from '@xmc/virtio'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { propertyRuns } from '../../../../vitest.properties.ts'
import { HostileWorld, type WorldOptions } from './hostile-world.ts'
import { type Step, step } from './steps.ts'
import { Turns } from './turns.ts'

/** Memory areas that the windows of the process get, far fewer than by default, so that guests come up against it. */
const AREAS = 1500

/** Areas that the process may take besides: V8's heap grows meanwhile. */
const OTHER_AREAS = 400

/** Calls of the hypervisor in a turn: a map, an unmap and a copy for each of the 4,096 descriptors that a turn may have. */
const CALLS_IN_TURN = 3 * 4096

/** Bytes of V8's heap for one guest: it is to know what is in flight, of which there are 64 MiB for a transport. */
const HEAP_BYTES = 96 * 2 ** 20

/** Bytes of memory for one guest: its own, and what a transport may hold of it. */
const RESIDENT_BYTES = 384 * 2 ** 20

/** Turns that a processor may be held: a disk takes 2 ms for each request, and a console for each write. */
const TURNS_HELD = 20_000

/** What board and two disks tell at once, of as many kinds as they tell apart and of the others as one. */
const REPORTS = 3 * DEFAULT_REPORT_BURST * (DEFAULT_REPORT_KINDS + 1)

/** A turn by the clock, on however slow a machine: what is unbounded takes many seconds. */
const TURN_MILLISECONDS = 5000

/** What was seen, for whoever reads the output. */
const most = {
  reports: 0,
  areas: 0,
  heapBytes: 0,
  residentBytes: 0,
  callsInTurn: 0,
  turnMilliseconds: 0,
}

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

describe('a hostile guest', () => {
  const budget = memoryAreas().budget
  beforeAll(() => {
    memoryAreas().budget = AREAS
  })
  afterAll(() => {
    memoryAreas().budget = budget
    process.stdout.write(`the most of any guest: ${JSON.stringify(most)}\n`)
  })

  const steps = fc.array(step, { minLength: 5, maxLength: 40 })
  const mapping = fc.constantFrom('synchronous' as const, 'asynchronous' as const)
  for (const addressing of ['grants', 'foreign'] as const) {
    it(`by ${addressing} takes no more areas, memory, reports and work in a turn than it may, and leaves nothing`, async () => {
      await fc.assert(
        fc.asyncProperty(mapping, steps, async (how, sequence) => {
          expect(await leftBy({ addressing, mapping: how }, sequence)).toEqual([])
        }),
        propertyRuns(3, 200),
      )
    })
  }
})

/**
 * Runs a sequence of steps beside a well-behaved guest, and looks at what the process holds after each. Returns what is left of the
 * guest in the end.
 */
async function leftBy(
  options: WorldOptions,
  sequence: readonly Step[],
): Promise<readonly string[]> {
  const areasBefore = processAreas()
  const heapBefore = heapBytes()
  const residentBefore = process.memoryUsage.rss()
  const world = new HostileWorld(options)
  const { hypervisor, board } = world.guest
  const turns = new Turns(() => hypervisor.usage.memoryCalls)
  for (const each of sequence) {
    const least = each.do === 'wait' ? each.turns : 3
    expect(await turns.pass(world.apply(each), least, TURNS_HELD)).toBe(true)
    const areas = processAreas() - areasBefore
    const heap = heapBytes() - heapBefore
    const resident = process.memoryUsage.rss() - residentBefore
    most.areas = Math.max(most.areas, areas)
    most.heapBytes = Math.max(most.heapBytes, heap)
    most.residentBytes = Math.max(most.residentBytes, resident)
    expect(memoryAreas().statistics.used).toBeLessThanOrEqual(AREAS + world.divisions)
    most.reports = Math.max(most.reports, world.reports)
    expect(world.reports).toBeLessThanOrEqual(REPORTS)
    expect(areas).toBeLessThan(AREAS + OTHER_AREAS + world.divisions)
    expect(heap).toBeLessThan(HEAP_BYTES)
    expect(resident).toBeLessThan(RESIDENT_BYTES)
  }
  const { mostInTurn, longestMilliseconds } = turns.summary
  most.callsInTurn = Math.max(most.callsInTurn, mostInTurn)
  most.turnMilliseconds = Math.max(most.turnMilliseconds, Math.round(longestMilliseconds))
  expect(mostInTurn).toBeLessThanOrEqual(CALLS_IN_TURN)
  expect(longestMilliseconds).toBeLessThan(TURN_MILLISECONDS)
  await neighbourReads(options.addressing)
  await world.close()
  expect(board?.memory.foreign.statistics.locks).toBe(0)
  return hypervisor.leftovers()
}

/** A guest of the same process reads a disk. */
async function neighbourReads(addressing: 'grants' | 'foreign'): Promise<void> {
  const disk = new MemoryDisk(new Uint8Array(4096).fill(0x5a))
  const machine = DiskMachine.open({ disks: [disk], addressing, memoryBytes: 2 ** 24 })
  const driver = machine.driver(0)
  await driver.start()
  const buffer = driver.allocateBuffer(4096)
  await driver.read(0, buffer)
  expect(buffer.bytes[4095]).toBe(0x5a)
  buffer.release()
  await driver.close()
  await machine.close()
}

/** Memory areas of the process. */
function processAreas(): number {
  return readFileSync('/proc/self/maps', 'latin1').split('\n').length - 1
}

/** Bytes of V8's heap, after a collection where there is much. */
function heapBytes(): number {
  const { heapUsed } = process.memoryUsage()
  if (heapUsed < HEAP_BYTES / 2 || typeof collect !== 'function') return heapUsed
  collect()
  return process.memoryUsage().heapUsed
}
