import type { Domain } from '@xmc/sim'

/**
 * Populates frames of a guest that are holes. Every 8 bytes of them hold their own guest address and
 * a half, as a double, so that any byte tells where it belongs, and none is mistaken for a page of zeros.
 */
export function populate(guest: Domain, frame: number, count: number): void {
  for (const hole of guest.p2m.holesIn(frame, count)) {
    guest.populate(hole.frame, hole.count)
    guest.memory.write(hole.frame * 4096, contents(hole.frame * 4096, hole.count * 4096))
  }
}

/** What {@link populate} put into `length` bytes from `address` on. */
export function contents(address: number, length: number): Uint8Array {
  const start = Math.floor(address / 8) * 8
  const words = new Float64Array(Math.ceil((address + length - start) / 8))
  for (let word = 0; word < words.length; word++) words[word] = start + word * 8 + 0.5
  return new Uint8Array(words.buffer, address - start, length)
}
