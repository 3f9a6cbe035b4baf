import { deepEqual } from 'node:assert/strict'
import { protectionAt } from '@xmc/contract'
import { type HostMemoryWindow, openWindow } from '@xmc/hostmem'
import {
  domainId,
  type GrantCopySegment,
  type GrantMapRequest,
  grantReference,
  windowPage,
} from '@xmc/interface'
import { Hypervisor as Simulator } from '@xmc/sim'
import { type GrantDevice, Hypervisor, type SharedPages, type SharePagesOptions } from '@xmc/xen'
import { caseSuite, type Suite } from './suite.ts'

const SEEDS = 6
const STEPS = 50
const WINDOW_PAGES = 24
const OUTSIDE = 0xffff_fff0
const OWN = domainId(0)

/** The same random steps on simulator and Xen: every outcome and every byte must be the same. */
export const differential: Suite = caseSuite(
  'differential',
  Array.from({ length: SEEDS }, (_, seed) => ({
    id: `X${seed + 1}`,
    title: `${STEPS} random steps with grants, seed ${seed + 1}`,
    run: () => runBoth(seed + 1),
  })),
)

/** What both hypervisors have in common for a program that grants to itself. */
interface Side {
  readonly table: Pick<
    GrantDevice,
    'map' | 'mapAsync' | 'unmap' | 'unmapAsync' | 'copy' | 'setUnmapNotify'
  >
  readonly window: HostMemoryWindow
  /** Pages of each live mapping, by its first page. */
  readonly mapped: Map<number, number>
  readonly shared: Pick<SharedPages, 'references' | 'bytes' | 'close'>[]
  share(options: SharePagesOptions): Pick<SharedPages, 'references' | 'bytes' | 'close'>
  close(): void
}

async function runBoth(seed: number): Promise<void> {
  const random = generator(seed)
  const sides = [sideOf(new Simulator({ seed })), sideOf(new Hypervisor())]
  const open = new Set<number>()
  try {
    for (let step = 0; step < STEPS; step++) {
      const [name, action] = choose(random, sides, open)
      const outcomes: unknown[] = []
      for (const side of sides) outcomes.push(await outcomeOf(() => action(side)))
      const [simulated, real] = outcomes
      deepEqual(simulated, real, `step ${step}, ${name}: the simulator's outcome, and Xen's`)
      const [left, right] = sides.map((side) => contents(side, open))
      deepEqual(left, right, `step ${step}, ${name}: the simulator's bytes, and Xen's`)
    }
  } finally {
    for (const side of sides) side.close()
  }
}

type Step = (side: Side) => unknown

function choose(
  random: (below: number) => number,
  sides: readonly Side[],
  open: Set<number>,
): readonly [name: string, step: Step] {
  const shares = [...open]
  const share = shares[random(shares.length)]
  const page = random(WINDOW_PAGES)
  const kind = random(12)
  if (share === undefined || (kind === 0 && shares.length < 6)) {
    open.add(sides[0]?.shared.length ?? 0)
    const options = {
      to: random(6) === 0 ? 5 : 0,
      pageCount: 1 + random(4),
      readonly: random(3) === 0,
    }
    return [
      `share ${JSON.stringify(options)}`,
      (side) => void side.shared.push(side.share(options)),
    ]
  }
  switch (kind) {
    case 1: {
      open.delete(share)
      return [`close share ${share}`, (side) => side.shared[share]?.close()]
    }
    case 2:
    case 3: {
      const value = 1 + random(255)
      const offset = random(4096)
      return [
        `granter stores in share ${share}`,
        (side) => {
          const bytes = side.shared[share]?.bytes
          if (bytes !== undefined) bytes[offset % bytes.length] = value
        },
      ]
    }
    case 4: {
      const value = 1 + random(255)
      return [`store through window page ${page}`, (side) => storeIfWritable(side, page, value)]
    }
    case 5:
    case 6: {
      const count = 1 + random(4)
      const asynchronous = random(2) === 0
      return [
        `unmap ${count} at ${page}`,
        async ({ table, window, mapped }) => {
          // Mostly the mapping's own count, and sometimes another.
          const pages = count === 4 ? 2 : (mapped.get(page) ?? count)
          if (asynchronous) await table.unmapAsync(window, windowPage(page), pages)
          else table.unmap(window, windowPage(page), pages)
          mapped.delete(page)
        },
      ]
    }
    case 7: {
      const clearByte = random(32)
      return [
        `notify ${clearByte} at ${page}`,
        ({ table, window }) => table.setUnmapNotify(window, windowPage(page), { clearByte }),
      ]
    }
    case 8: {
      const segments = Array.from({ length: 1 + random(3) }, () => ({
        share: shares[random(shares.length)] ?? share,
        page: random(4),
        bad: random(6) === 0,
        offset: random(4) === 0 ? 4090 : random(4000),
        length: random(5) === 0 ? 0 : 1 + random(16),
        fill: 1 + random(255),
        direction: random(2) === 0 ? ('from-grant' as const) : ('to-grant' as const),
      }))
      return [
        `copy ${JSON.stringify(segments)}`,
        (side) => {
          const list = segments.map(
            (each): GrantCopySegment => ({
              domain: OWN,
              reference: grantReference(
                each.bad ? OUTSIDE : referenceOf(side, each.share, each.page),
              ),
              offset: each.offset,
              bytes: new Uint8Array(each.length).fill(each.fill),
              direction: each.direction,
            }),
          )
          const statuses = [...side.table.copy(list)]
          return { statuses, bytes: list.map(({ bytes }) => [...bytes]) }
        },
      ]
    }
    default: {
      const list = Array.from({ length: 1 + random(4) }, () => ({
        share: shares[random(shares.length)] ?? share,
        page: random(4),
        bad: random(12) === 0,
      }))
      const writable = random(2) === 0
      const asynchronous = random(3) === 0
      return [
        `map ${JSON.stringify(list)} at ${page}, ${writable ? 'writable' : 'read-only'}`,
        async (side) => {
          // Over a live mapping the simulator and Xen show different leftovers: no program does that.
          if (isMapped(side, page, list.length)) return 'occupied'
          const references = list.map(({ share: of, page: index, bad }) =>
            grantReference(bad ? OUTSIDE : referenceOf(side, of, index)),
          )
          const { window } = side
          const target = { domain: OWN, window, windowPage: windowPage(page), writable }
          const request: GrantMapRequest = { ...target, references }
          if (asynchronous) await side.table.mapAsync(request)
          else side.table.map(request)
          return void side.mapped.set(page, list.length)
        },
      ]
    }
  }
}

function sideOf(hypervisor: Simulator | Hypervisor): Side {
  const window = openWindow({ pageCount: WINDOW_PAGES })
  return {
    table: hypervisor.grantTable(),
    window,
    mapped: new Map(),
    shared: [],
    share: (options) => hypervisor.sharePages(options),
    close() {
      hypervisor.close()
      window.close()
    },
  }
}

function referenceOf(side: Side, share: number, page: number): number {
  const references = side.shared[share]?.references ?? []
  return references[page % references.length] ?? OUTSIDE
}

/** Whether a live mapping has any of the pages. */
function isMapped({ mapped }: Side, page: number, count: number): boolean {
  return [...mapped].some(([start, length]) => start < page + count && page < start + length)
}

function storeIfWritable({ window }: Side, page: number, value: number): string {
  const protection = protectionAt(window.hostAddress + page * 4096)
  if (protection === 'read-write') pageOf(window, page)[7] = value
  return protection
}

function pageOf(window: HostMemoryWindow, page: number): Uint8Array {
  return new Uint8Array(window.buffer, window.byteOffset + page * 4096, 4096)
}

/** Everything that can be seen, in short. */
function contents(side: Side, open: ReadonlySet<number>): unknown {
  return {
    window: Array.from({ length: WINDOW_PAGES }, (_, page) => digest(pageOf(side.window, page))),
    shared: [...open].map((share) => digest(side.shared[share]?.bytes ?? new Uint8Array(0))),
  }
}

function digest({ buffer, byteOffset, length }: Uint8Array): number {
  let sum = 0
  for (const word of new Int32Array(buffer, byteOffset, length / 4)) {
    sum = (Math.imul(sum, 31) + word) | 0
  }
  return sum
}

async function outcomeOf(action: () => unknown): Promise<unknown> {
  try {
    return { done: (await action()) ?? null }
  } catch (error) {
    if (!(error instanceof Error)) return String(error)
    const code = 'code' in error ? error.code : error.message
    return { code, errnoName: 'errnoName' in error ? error.errnoName : undefined }
  }
}

/** Small, seeded, and good enough to choose steps: mulberry32. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % Math.max(1, below)
  }
}
