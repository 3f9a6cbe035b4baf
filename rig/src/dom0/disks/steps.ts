import { deepEqual, equal } from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import type { Board } from '@xmc/arm-virt'
import { until } from '../../time/waiting.ts'
import { Guest, guestDomain } from '../guest.ts'
import { GuestDisks, TREE } from './guest-disks.ts'
import { ServedDisks, type ServingOptions } from './served-disks.ts'

/** Requests of a disk after which writing counts as under way. */
const UNDER_WAY = 50

/** A guest, by its disks. Resolves when it is up. */
export async function connect(domain: number = guestDomain): Promise<GuestDisks> {
  return new GuestDisks(await Guest.connect(domain))
}

/**
 * Serves two fresh disks to the first guest, whose driver is bound to them, does `action`, unbinds the driver, and ends the
 * serving.
 *
 * @throws AssertionError when anything of the guest is in use without a driver, or the board reports a fault
 */
export async function serving(
  options: ServingOptions,
  action: (guest: GuestDisks, served: ServedDisks) => Promise<void>,
): Promise<void> {
  const served = await ServedDisks.open(guestDomain, options)
  try {
    const guest = await connect()
    await guest.bind()
    await action(guest, served)
    await unbind(guest, served)
  } finally {
    await served.close()
  }
}

/**
 * Takes both disks from the guest's driver, after which nothing is in use, and no grant is mapped. The guest has taken every grant
 * back without finding one in use, and the board has reported nothing.
 */
export async function unbind(
  guest: GuestDisks,
  { board, hypervisor, faults }: ServedDisks,
): Promise<void> {
  for (const slot of [0, 1]) await guest.unbind(slot)
  const { foreign, grants } = board.statistics
  deepEqual([foreign.locks, grants.locks, hypervisor.usage.pinnedGrants], [0, 0, 0])
  equal(await guest.complaints(), '')
  deepEqual(faults, [])
}

/** Mounts both disks and writes on them from now on; resolves when that is well under way. */
export async function writing(guest: GuestDisks, board: Board): Promise<void> {
  for (const slot of [0, 1]) await guest.mount(slot)
  await guest.startWriting([0, 1])
  for (const transport of board.transports) {
    const { used } = transport.statistics
    await until('there are no requests', () => transport.statistics.used > used + UNDER_WAY)
  }
}

/** Mounts a disk, copies {@link TREE} to its folder `tree`, runs a command at its top, and unmounts it. */
export async function copyTree(
  guest: GuestDisks,
  slot: number,
  command: string = 'true',
): Promise<void> {
  const place = await guest.mount(slot)
  await guest.shell(`cp -r ${TREE} ${place}/tree && sync && cd ${place} && ${command}`)
  await guest.unmount(slot)
}

/** The digest of a disk's folder `tree`, which the guest reads from the disk. */
export async function digestOnDisk(guest: GuestDisks, slot: number): Promise<string> {
  // What was in the guest's cache has gone with the last mount.
  const place = await guest.mount(slot)
  try {
    return await guest.digestOf(`${place}/tree`)
  } finally {
    await guest.unmount(slot)
  }
}

/** Resolves when each of some files has changed twice from now on, so that somebody is at it. */
export async function changed(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    for (const _ of [1, 2]) {
      const { mtimeMs: before } = await stat(path)
      await until(`${path} does not change`, async () => (await stat(path)).mtimeMs !== before)
    }
  }
}

/** That a backend has ended as it should, by what it told of itself. */
export function assertNothingLeft(summary: unknown, end: string): void {
  if (typeof summary !== 'object' || summary === null) throw new TypeError(String(summary))
  equal('end' in summary && summary.end, end)
  const usage = 'usage' in summary ? summary.usage : undefined
  if (typeof usage !== 'object' || usage === null) throw new TypeError(JSON.stringify(summary))
  deepEqual({ ...usage, memoryCalls: 0 }, { mappedPages: 0, pinnedGrants: 0, memoryCalls: 0 })
}
