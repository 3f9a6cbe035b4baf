import assert from 'node:assert/strict'
import { PAGE_SIZE, type TargetWindow, type WindowPage, windowPage } from '@xmc/interface'

/** Bytes of one window page. Asked for afresh at each look, as a stale view proves nothing. */
export function pageBytes(window: TargetWindow, page: number): Uint8Array {
  return new Uint8Array(window.buffer, window.byteOffset + page * PAGE_SIZE, PAGE_SIZE)
}

/** A window page of the target, checked. */
export function at(page: number): WindowPage {
  return windowPage(page)
}

/** `length` bytes, none of them zero, that differ at each place for 255 consecutive seeds. */
export function pattern(seed: number, length = 16): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => 1 + ((seed * 37 + index * 11) % 255))
}

/** Asserts that the window page holds `expected` from `offset` on. */
export function assertBytes(
  window: TargetWindow,
  page: number,
  offset: number,
  expected: Uint8Array,
  what: string,
): void {
  const bytes = pageBytes(window, page).subarray(offset, offset + expected.length)
  assertSame(bytes, expected, `${what}: window page ${page} from byte ${offset} on`)
}

/** Asserts that two runs of bytes are the same. */
export function assertSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.deepEqual([...actual], [...expected], what)
}

/** Asserts that every byte of `count` window pages is zero, which reads all of them. */
export function assertZeros(window: TargetWindow, page: number, count: number, what: string): void {
  for (let index = 0; index < count; index++) {
    const bad = pageBytes(window, page + index).findIndex((byte) => byte !== 0)
    assert.equal(bad, -1, `${what}: window page ${page + index} must read as zeros, not at byte`)
  }
}
