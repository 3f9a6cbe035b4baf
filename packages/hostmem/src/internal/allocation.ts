import { readFileSync } from 'node:fs'
import { PAGE_SIZE } from '@xmc/interface'
import { readAddressSpaceLimits, UNLIMITED } from '../address-space-limit.ts'
import { PageStates } from './page-states.ts'

/**
 * The least bytes of a buffer. malloc takes smaller blocks, up to 32 MiB, out of memory that it hands
 * out again: pages mapped in the window of a worker that was terminated would stay there, under
 * somebody else's data. A larger block is unmapped as a whole when it is freed.
 */
const LEAST_BUFFER_BYTES = 2 ** 25 + PAGE_SIZE

/**
 * Address space that a window leaves to the process where RLIMIT_AS is finite. Node ends the process
 * when it cannot allocate, and the eight threads of V8 and libuv take 64 MiB each for malloc: one that
 * made 400,000 small objects with 300 MiB left was ended in 10 of 10 runs, with 500 MiB in none.
 */
const REST_OF_PROCESS_BYTES = 512 * 2 ** 20

/** Why a size was refused. */
export type Refusal = 'address-space-limit' | 'allocation-refused'

/** A buffer with room for a window, and the states of the window's pages. */
export interface Allocation {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  readonly states: PageStates
  readonly pageCount: number
  /** Why the next larger size that was tried was refused; absent when the first was not. */
  readonly refusal: Refusal | undefined
}

/**
 * Allocates the memory of a window of `requestedPages`, or of half as many, and so on, but of no
 * fewer than `minimumPages`. Returns the last refusal when that, too, is refused.
 */
export function allocate(
  requestedPages: number,
  minimumPages: number,
  shared: boolean,
): Allocation | Refusal {
  const room = addressSpaceRoom()
  let pageCount = requestedPages
  let refusal: Refusal | undefined
  for (;;) {
    // A page more than the window and its spare page, since malloc's blocks do not start at a page.
    const bytes = Math.max((pageCount + 2) * PAGE_SIZE, LEAST_BUFFER_BYTES)
    if (bytes + pageCount > room) {
      refusal = 'address-space-limit'
    } else {
      const memory = tryAllocate(bytes, pageCount, shared)
      if (memory !== undefined) return { ...memory, pageCount, refusal }
      refusal = 'allocation-refused'
    }
    if (pageCount === minimumPages) return refusal
    pageCount = Math.max(minimumPages, Math.floor(pageCount / 2))
  }
}

function tryAllocate(
  bytes: number,
  pageCount: number,
  shared: boolean,
): { buffer: ArrayBuffer | SharedArrayBuffer; states: PageStates } | undefined {
  try {
    const buffer = shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes)
    return { buffer, states: new PageStates(pageCount) }
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

/** Bytes that may still be allocated under RLIMIT_AS. */
function addressSpaceRoom(): number {
  const { soft } = readAddressSpaceLimits()
  if (soft === UNLIMITED) return Number.POSITIVE_INFINITY
  const usedPages = Number.parseInt(readFileSync('/proc/self/statm', 'latin1'), 10)
  return Number(soft) - usedPages * PAGE_SIZE - REST_OF_PROCESS_BYTES
}
