import type { WindowPage } from '@xmc/core'
import { type DomainId, type ForeignMemory, type GuestFrame, guestFrame } from '@xmc/foreign'
import { type HostMemoryWindow, openWindow, windowPage } from '@xmc/hostmem'
import type { RamBank } from '@xmc/memory-region'
import {
  GUEST_RAM0_BASE,
  GUEST_RAM0_SIZE,
  GUEST_RAM1_BASE,
  GUEST_RAM1_SIZE,
} from '../address-map.ts'

/** Frames from one probe of RAM to the next: 1 MiB. */
const STRIDE = 256

/** Frames of one map. */
const PROBES_PER_MAP = 1024

const BANKS: readonly RamBank[] = [
  { name: 'xen.ram.lo', address: GUEST_RAM0_BASE, size: GUEST_RAM0_SIZE },
  { name: 'xen.ram.hi', address: GUEST_RAM1_BASE, size: GUEST_RAM1_SIZE },
]

/**
 * Finds where a domain has RAM, in the banks of the address map, by mapping frames for a moment: one in each MiB up to
 * `highest`, and then all of the last MiB that has some. A bank ends with the last frame that has memory.
 *
 * @param highest the highest frame that the domain ever had something at
 * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` when the domain is gone
 */
export function findRam(
  memory: ForeignMemory,
  domain: DomainId,
  highest: GuestFrame,
): readonly RamBank[] {
  const window = openWindow({ pageCount: PROBES_PER_MAP, minimumPages: PROBES_PER_MAP })
  try {
    return BANKS.flatMap((bank) => {
      const first = Number(bank.address >> 12n)
      const end = Math.min(first + Number(bank.size >> 12n), highest + 1)
      const last = lastWithMemory({ memory, domain, window }, first, end)
      if (last === undefined) return []
      return [{ ...bank, size: BigInt(last - first + 1) << 12n }]
    })
  } finally {
    window.close()
  }
}

interface Probe {
  readonly memory: ForeignMemory
  readonly domain: DomainId
  readonly window: HostMemoryWindow
}

function lastWithMemory(probe: Probe, first: number, end: number): number | undefined {
  if (end <= first) return undefined
  const samples: number[] = []
  for (let frame = first; frame < end; frame += STRIDE) samples.push(frame)
  // The last frames, too: the end of RAM is where it is most worth being exact.
  for (let frame = Math.max(first, end - STRIDE); frame < end; frame++) samples.push(frame)
  const sampled = lastOf(probe, samples)
  if (sampled === undefined) return undefined
  const rest: number[] = []
  for (let frame = sampled; frame < Math.min(end, sampled + STRIDE); frame++) rest.push(frame)
  return lastOf(probe, rest)
}

/** The highest of `frames` that has memory. */
function lastOf({ memory, domain, window }: Probe, frames: readonly number[]): number | undefined {
  let last: number | undefined
  for (let start = 0; start < frames.length; start += PROBES_PER_MAP) {
    const some = frames.slice(start, start + PROBES_PER_MAP).map((frame) => guestFrame(frame))
    const errors = new Int32Array(some.length)
    const place: WindowPage = windowPage(0)
    memory.map({ domain, window, windowPage: place, frames: some, writable: false, errors })
    memory.unmap(window, place, some.length)
    for (const [index, frame] of some.entries()) {
      if (errors[index] === 0 && frame > (last ?? -1)) last = frame
    }
  }
  return last
}
