import type { ForeignMemory } from '@xmc/foreign'
import { type HostMemoryWindow, openWindow } from '@xmc/hostmem'
import {
  type DomainId,
  type GuestFrame,
  guestFrame,
  type WindowPage,
  windowPage,
} from '@xmc/interface'
import type { RamBank } from '@xmc/memory-region'
import {
  GUEST_RAM0_BASE,
  GUEST_RAM0_SIZE,
  GUEST_RAM1_BASE,
  GUEST_RAM1_SIZE,
} from '../address-map.ts'

/** Frames from one probe of RAM to the next where RAM is expected: 1 MiB. */
const STRIDE = 256

/** Frames of one map. */
const PROBES_PER_MAP = 1024

/** Most frames of a bank in which RAM is expected: 256 GiB, of which the probes take 256 maps. */
const MOST_EXPECTED = 2 ** 26

const BANKS: readonly RamBank[] = [
  { name: 'xen.ram.lo', address: GUEST_RAM0_BASE, size: GUEST_RAM0_SIZE },
  { name: 'xen.ram.hi', address: GUEST_RAM1_BASE, size: GUEST_RAM1_SIZE },
]

/**
 * Finds where a domain has RAM, in the banks of the address map, by mapping frames for a moment. A bank ends with the
 * last frame that has memory.
 *
 * Where the toolstack puts as much RAM as the domain may have, one frame in each MiB is mapped. Beyond, up to
 * `highest`, a guest may have put something, but wherever that is it costs 4 maps of 1024 frames a bank: there,
 * RAM is found to the page where it goes to the end, and may be taken for smaller where it is scattered.
 *
 * @param highest the highest frame that the domain ever had something at, which the guest decides
 * @param maximumPages most pages that the domain may have, which the toolstack decides; the first 256 GiB of each
 * bank are looked through where that is not known
 * @throws SystemCallError `ERR_XMC_SYSTEM_CALL`: `ESRCH` when the domain is gone
 */
export function findRam(
  memory: ForeignMemory,
  domain: DomainId,
  highest: GuestFrame,
  maximumPages: number = MOST_EXPECTED,
): readonly RamBank[] {
  const window = openWindow({ pageCount: PROBES_PER_MAP, minimumPages: PROBES_PER_MAP })
  try {
    const probe = { memory, domain, window }
    return BANKS.flatMap((bank) => {
      const first = Number(bank.address >> 12n)
      const end = Math.min(first + Number(bank.size >> 12n), highest + 1)
      // Any of the RAM may be in either bank: it is little that is looked through in vain.
      const expected = Math.min(end, first + Math.min(maximumPages, MOST_EXPECTED))
      const last = lastWithMemory(probe, first, expected, end)
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

function lastWithMemory(
  probe: Probe,
  first: number,
  expected: number,
  end: number,
): number | undefined {
  if (end <= first) return undefined
  const beyond = strideOf(end - expected)
  const samples = [
    ...framesOf(first, expected, STRIDE),
    ...framesOf(expected, end, beyond),
    // The last frames, too: the end of RAM is where it is most worth being exact.
    ...framesOf(Math.max(first, end - STRIDE), end, 1),
  ]
  let last = lastOf(probe, samples)
  let stride = last === undefined || last < expected ? STRIDE : beyond
  while (last !== undefined && stride > 1) {
    const to = Math.min(end, last + stride)
    stride = strideOf(to - last)
    last = lastOf(probe, framesOf(last, to, stride))
  }
  return last
}

/** The distance of probes, so that one map has all of `count` frames. */
function strideOf(count: number): number {
  return Math.max(1, Math.ceil(count / PROBES_PER_MAP))
}

function framesOf(first: number, end: number, stride: number): number[] {
  const frames: number[] = []
  for (let frame = first; frame < end; frame += stride) frames.push(frame)
  return frames
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
