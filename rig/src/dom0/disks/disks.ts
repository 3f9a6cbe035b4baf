import { equal, match, ok } from 'node:assert/strict'
import { until } from '../../time/waiting.ts'
import { needingDeviceModels } from '../device-models.ts'
import { destroyDomain, pauseDomain, shutDownDomain, unpauseDomain } from '../domain-control.ts'
import { guestDomain } from '../guest.ts'
import { type Case, caseSuite, type Suite } from '../suite.ts'
import { digestOf } from './disk-image.ts'
import { endCase } from './end-case.ts'
import { TREE } from './guest-disks.ts'
import { ServedDisks } from './served-disks.ts'
import {
  assertNothingLeft,
  changed,
  connect,
  copyTree,
  digestOnDisk,
  serving,
  unbind,
  writing,
} from './steps.ts'
import { takeoverCase } from './takeover-case.ts'
import { costCase, treeCase } from './tree-case.ts'

/** `SHUTDOWN_crash` */
const crashed = 3

const cases: readonly Case[] = [
  {
    id: 'D1',
    title: 'attaches to a paused guest, which finds its disks when it goes on',
    run: async () => {
      pauseDomain(guestDomain)
      const served = await ServedDisks.open(guestDomain).finally(() => unpauseDomain(guestDomain))
      const guest = await connect()
      await guest.bind()
      for (const slot of [0, 1]) match(await guest.device(slot), /^\/dev\/vd[a-z]$/)
      await unbind(guest, served)
      await served.close()
    },
  },
  ...([1, 8, 32] as const).flatMap((inFlight, index) => [
    treeCase(`D${2 + index}`, 'grants', inFlight),
    treeCase(`D${5 + index}`, 'foreign', inFlight),
  ]),
  costCase('D8'),
  {
    id: 'D9',
    title:
      'a driver that is unbound and bound again under load: the disk goes on, nothing is mapped between',
    run: () =>
      serving({}, async (guest, served) => {
        await writing(guest, served.board)
        await unbind(guest, served)
        await guest.stopWriting([0, 1])
        for (const slot of [0, 1]) await guest.unmount(slot)
        for (const image of served.images) await image.mend()
        await guest.bind()
        for (const slot of [0, 1]) {
          await copyTree(guest, slot)
          equal(await digestOnDisk(guest, slot), await digestOf(TREE))
        }
      }),
  },
  {
    id: 'D10',
    title: 'memory that the guest gives up under load is forgotten, of plain addresses alone',
    run: () =>
      serving({}, async (guest, { board }) => {
        await writing(guest, board)
        const before = board.statistics
        const target = '/sys/devices/system/xen_memory/xen_memory0/target_kb'
        await guest.shell(`echo $(($(cat ${target}) - 8192)) > ${target}`)
        await until('there are no invalidations', () => board.statistics.ioreq.invalidations > 0)
        await guest.stopWriting([0, 1])
        await guest.shell(`echo $(($(cat ${target}) + 8192)) > ${target}`)
        const { foreign, grants } = board.statistics
        ok(foreign.invalidations > before.foreign.invalidations, 'foreign mappings are dropped')
        equal(grants.invalidations, before.grants.invalidations)
        for (const slot of [0, 1]) {
          await guest.unmount(slot)
          await copyTree(guest, slot)
          equal(await digestOnDisk(guest, slot), await digestOf(TREE))
        }
      }),
  },
  endCase('D11', 'destroyed', destroyDomain),
  endCase('D12', 'crashed', (domain) => shutDownDomain(domain, crashed)),
  takeoverCase({
    id: 'D13',
    title:
      'a backend that is killed while it is idle: the next one takes over, the driver is bound again',
    before: async () => {},
    after: async (guest, next) => {
      for (const slot of [0, 1]) await guest.unbind(slot)
      await guest.bind()
      for (const slot of [0, 1]) equal(await digestOnDisk(guest, slot), await digestOf(TREE))
      for (const slot of [0, 1]) await guest.unbind(slot)
      equal(await guest.complaints(), '')
      assertNothingLeft(await next.stop(), 'SIGTERM')
    },
    settle: (image) => image.assertClean(),
  }),
  takeoverCase({
    id: 'D14',
    title:
      'a backend that is killed while the guest writes: the next one takes over, what was synced is there',
    before: async (guest, paths) => {
      for (const slot of [0, 1]) await guest.mount(slot)
      await guest.startWriting([0, 1])
      await changed(paths)
    },
    after: async (guest, next) => {
      // Nobody answers what the killed one had taken.
      const lost = await guest.shell('sleep 2; cat /sys/block/vd?/inflight')
      process.stdout.write(`D14: requests for which Linux waits, reads and writes: ${lost}\n`)
      await destroyDomain(guestDomain)
      assertNothingLeft(await next.ended(), 'destroyed')
    },
    settle: (image) => image.mend(),
  }),
]

/**
 * A Linux guest with two disks of ours, one that it hands granted pages and one that it hands plain addresses. Takes guests
 * with the transports of such disks: `--disks mixed`. The last case leaves no guest for others.
 */
export const disks: Suite = needingDeviceModels(caseSuite('disks', cases))
