import assert from 'node:assert/strict'
import { countPages, type DomainId, type GuestFrame, guestFrame, type Pages } from '@xmc/interface'
import type { CapabilityName, ContractCase } from '../contract-case.ts'
import { inOrder } from '../internal/in-order.ts'
import { at, pattern } from '../internal/window-bytes.ts'
import type { ForeignMemoryProvider } from './provider.ts'

/** A case of the contract of foreign memory. */
export type ForeignMemoryCase = ContractCase<ForeignMemoryProvider>

/** Defines a case. */
export function foreignCase(
  id: string,
  title: string,
  run: (provider: ForeignMemoryProvider) => Promise<void>,
  requires: readonly CapabilityName<ForeignMemoryProvider>[] = [],
): ForeignMemoryCase {
  return { id, title, requires, run }
}

/** The `index`-th of the frames that the guest leaves to the test. */
export function frameAt(provider: ForeignMemoryProvider, index: number): GuestFrame {
  return guestFrame(provider.frames.first + index)
}

/** The frames at these places among those that the guest leaves to the test. */
export function framesAt(
  provider: ForeignMemoryProvider,
  ...indexes: readonly number[]
): readonly GuestFrame[] {
  return indexes.map((index) => frameAt(provider, index))
}

/** How a step differs from a writable map of the guest's frames. */
export interface MapOptions {
  readonly writable?: boolean
  /** The error array, or undefined for none. */
  readonly errors?: Int32Array | undefined
  readonly domain?: DomainId
}

/** A map request for `frames` at `page`. */
export function mapRequest(
  provider: ForeignMemoryProvider,
  page: number,
  frames: Pages<GuestFrame>,
  options: MapOptions = {},
): Parameters<ForeignMemoryProvider['memory']['map']>[0] {
  return {
    domain: options.domain ?? provider.domain,
    window: provider.window,
    windowPage: at(page),
    frames,
    writable: options.writable ?? true,
    errors: options.errors,
  }
}

/** Maps `frames` at `page`. Unless `options` have an error array, or none, every frame must succeed. */
export function map(
  provider: ForeignMemoryProvider,
  page: number,
  frames: Pages<GuestFrame>,
  options: MapOptions = {},
): void {
  const errors = new Int32Array(countPages(frames))
  provider.memory.map(mapRequest(provider, page, frames, { errors, ...options }))
  assert.equal(
    errors.findIndex((error) => error !== 0),
    -1,
    'no frame fails, not that at index',
  )
}

/** Unmaps `count` pages at `page`. */
export function unmap(provider: ForeignMemoryProvider, page: number, count: number): void {
  provider.memory.unmap(provider.window, at(page), count)
}

/** Lets the guest store pattern `seed + index` at the start and the end of each of its first frames. */
export async function mark(
  provider: ForeignMemoryProvider,
  seed: number,
  count: number,
): Promise<void> {
  const frames = framesAt(provider, ...Array.from({ length: count }, (_, index) => index))
  await inOrder(frames, async (frame, index) => {
    await provider.guest.write(frame, 0, pattern(seed + index))
    await provider.guest.write(frame, 4080, pattern(seed + index))
  })
}
