import { deepEqual, equal, ok } from 'node:assert/strict'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { memoryAreas } from '@xmc/hostmem'
import { type Disk, TurnBudget, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '@xmc/virtio'
import { until } from '../../time/waiting.ts'
import { countMappings } from '../providers/process-mappings.ts'
import { type Case, caseSuite, type Suite } from '../suite.ts'
import { HostileDisk } from './hostile-disk.ts'
import { byFrames, byGrants, type HostileSide } from './hostile-side.ts'

/** Areas for the windows of a case in which areas are counted, beside those that others of the process have. */
const AREAS = 400

/** Descriptors that a turn may work on while turns are counted. */
const TURN_DESCRIPTORS = 256

/** Requests of one notification, by as many times the same chain. */
const REQUESTS = 256

/** Buffers of a chain. */
const BUFFERS = 250

const SECTOR = 512

const cases: readonly Case[] = [
  areasCase({
    id: 'B1',
    title: 'single granted pages at a slow disk, for reading and writing in turn',
    device: '/dev/xen/gntdev',
    open: () => byGrants(600),
    kind: (request) => (request % 2 === 0 ? 'read' : 'write'),
  }),
  areasCase({
    id: 'B2',
    title: 'a page in each MiB of the guest at a slow disk',
    device: '/dev/xen/privcmd',
    open: byFrames,
    // The guest's Linux has this memory: it is only read.
    kind: () => 'write',
  }),
  workCase('B3', 'references that nobody granted', () => byGrants(0)),
  workCase('B4', 'frames that the guest does not have', byFrames),
  {
    id: 'B5',
    title: 'why a grant is refused is asked once for each request, behind a large buffer too',
    run: () =>
      attacking(byGrants(512), { milliseconds: 0 }, async (side, disk) => {
        const good = Array.from({ length: 128 }, (_, page) => ({
          address: side.data(page),
          length: 4096,
        }))
        const bad = Array.from({ length: 64 }, (_, nth) => ({
          address: side.nowhere(nth),
          length: 4096,
        }))
        disk.put(0, 'read', [...good, ...bad])
        await answered(disk, 64)
        equal(disk.status(0), VIRTIO_BLK_S_IOERR)
        ok(side.calls.explanations <= 64, `${side.calls.explanations} explanations of 64 requests`)
        ok(side.calls.probes <= 64, `${side.calls.probes} references were asked of, of 64 bad ones`)
      }),
  },
]

/** What a hostile guest may take of its device model on real Xen: areas, work in a turn, explanations. By counts, not by times. */
export const bounds: Suite = caseSuite('bounds', cases)

interface AreasCase {
  readonly id: string
  readonly title: string
  /** Whose mappings are counted. */
  readonly device: string
  readonly open: () => HostileSide
  readonly kind: (request: number) => 'read' | 'write'
}

/** More pieces of memory than there may be areas: requests wait for each other, and each is done. */
function areasCase({ id, title, device, open, kind }: AreasCase): Case {
  return {
    id,
    title: `memory areas stay under their budget: ${title}`,
    run: async () => {
      const account = memoryAreas()
      const { budget } = account
      account.budget = account.statistics.used + AREAS
      // The part of one window.
      const limit = account.budget / 4
      try {
        await attacking(open(), { milliseconds: 5 }, async (side, disk) => {
          const requests = Array.from({ length: 25 }, (_, request) => request)
          for (const request of requests) {
            const buffers = Array.from({ length: 16 }, (_, nth) => ({
              address: side.data((request * 16 + nth) % 400),
              length: SECTOR,
            }))
            disk.put(request, kind(request), buffers)
          }
          const before = countMappings(device)
          let most = 0
          disk.notify(requests)
          await until('the requests are not answered', async () => {
            most = Math.max(most, countMappings(device) - before)
            return disk.outstanding === 0
          })
          process.stdout.write(`${id}: at most ${most} areas of ${device}\n`)
          ok(most >= 16, `${most} areas are those of one request`)
          ok(most <= limit, `${most} areas of ${limit}`)
          deepEqual([...disk.failures], [])
          deepEqual([...new Set(requests.map((each) => disk.status(each)))], [VIRTIO_BLK_S_OK])
        })
      } finally {
        account.budget = budget
      }
    },
  }
}

/** One notification of as many requests as the queue is long, with as many buffers that cannot be mapped as a table has. */
function workCase(id: string, title: string, open: () => HostileSide): Case {
  return {
    id,
    title: `one notification is worked on in bounded turns, with few calls for a request: ${title}`,
    run: async () => {
      const turnBudget = new TurnBudget({
        turnDescriptors: TURN_DESCRIPTORS,
        // Only what is counted ends a turn.
        turnMicroseconds: 1e12,
      })
      await attacking(open(), { milliseconds: 0, turnBudget }, async (side, disk) => {
        const buffers = Array.from({ length: BUFFERS }, (_, nth) => ({
          address: side.nowhere(nth),
          length: SECTOR,
        }))
        disk.put(0, 'read', buffers)
        const most = await answered(disk, REQUESTS, () => side.calls.maps + side.calls.copies)
        const { maps, copies, explanations } = side.calls
        process.stdout.write(
          `${id}: ${maps} maps, ${copies} copies, ${explanations} explanations for ${REQUESTS} requests, ` +
            `at most ${most} of these in a turn; ${JSON.stringify(turnBudget.statistics)}\n`,
        )
        equal(disk.status(0), VIRTIO_BLK_S_IOERR)
        // Table, header, first bad buffer, status and explanation of each; the queue itself.
        ok(maps <= 3 * REQUESTS + 16, `${maps} maps`)
        ok(copies <= 6 * REQUESTS + 16, `${copies} copies`)
        ok(explanations <= REQUESTS, `${explanations} explanations`)
        // Of two turns of the budget, where looks lie between them.
        ok(most <= 2 * TURN_DESCRIPTORS, `${most} calls in a turn`)
        ok(turnBudget.statistics.exhausted > 1, 'the work was more than one turn')
      })
    },
  }
}

/** Offers request 0 so many times at once. Returns the most of what is counted in a turn, once all are answered. */
async function answered(
  disk: HostileDisk,
  times: number,
  count: () => number = () => 0,
): Promise<number> {
  let last = count()
  let most = 0
  const look = (): void => {
    most = Math.max(most, count() - last)
    last = count()
  }
  disk.notify(Array.from({ length: times }, () => 0))
  look()
  await until('the requests are not answered', async () => {
    // A turn at a time.
    for (let turn = 0; turn < 100 && disk.outstanding > 0; turn++) {
      await setImmediate()
      look()
    }
    return disk.outstanding === 0
  })
  return most
}

/** Does `action` with a hostile driver of a disk that takes some milliseconds, and gives everything back. */
async function attacking(
  side: HostileSide,
  options: { readonly milliseconds: number; readonly turnBudget?: TurnBudget },
  action: (side: HostileSide, disk: HostileDisk) => Promise<void>,
): Promise<void> {
  try {
    const disk = new HostileDisk(side, new SlowDisk(options.milliseconds), options.turnBudget)
    try {
      await action(side, disk)
    } finally {
      await disk.transport.close()
    }
  } finally {
    side.close()
  }
}

/** A disk of zeros that takes its time, and holds meanwhile what it is to use. */
class SlowDisk implements Disk {
  readonly size: number = 2 ** 20
  readonly readOnly: boolean = false
  readonly identity: string = 'slow'
  readonly #milliseconds: number

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds
  }

  async read(): Promise<void> {
    await setTimeout(this.#milliseconds)
  }

  async write(): Promise<void> {
    await setTimeout(this.#milliseconds)
  }

  async flush(): Promise<void> {}
}
