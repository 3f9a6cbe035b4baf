/** Zeros that are written again and again: nothing may store into them. */
const ZEROS = new Uint8Array(64 * 1024)

/** Most bytes that are written at a time, 1 MiB. */
const ZEROS_AT_ONCE = 16 * ZEROS.length

/** Writes `length` zeros from `position` on, one piece after the other. */
export async function writeZeros(
  write: (buffers: readonly Uint8Array[], position: number) => Promise<void>,
  position: number,
  length: number,
): Promise<void> {
  for (let done = 0; done < length; done += ZEROS_AT_ONCE) {
    const count = Math.min(length - done, ZEROS_AT_ONCE)
    // One request, one system call at a time
    await write(zeros(count), position + done)
  }
}

function zeros(length: number): Uint8Array[] {
  const whole = Math.floor(length / ZEROS.length)
  const buffers = Array.from({ length: whole }, () => ZEROS)
  if (length % ZEROS.length > 0) buffers.push(ZEROS.subarray(0, length % ZEROS.length))
  return buffers
}
