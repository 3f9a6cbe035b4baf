import { closeSync, constants, openSync } from 'node:fs'
import koffi from 'koffi'
import { borderFrame, mailboxFrames } from './memory-layout.ts'

const pageBytes = 4096

/** `PROT_READ | PROT_WRITE` */
const readWrite = 3
/** `MAP_SHARED` */
const shared = 1

/** All reserved frames, the mailbox first, as one piece of memory. */
export function mapReservedMemory(): ArrayBuffer {
  const libc = koffi.load('libc.so.6')
  const mmap = libc.func(
    'intptr_t mmap(void *start, size_t length, int protection, int flags, int file, int64_t offset)',
  )
  const length = (borderFrame + 1 - mailboxFrames.first) * pageBytes
  const file = openSync('/dev/mem', constants.O_RDWR)
  try {
    const start: unknown = mmap(
      null,
      length,
      readWrite,
      shared,
      file,
      mailboxFrames.first * pageBytes,
    )
    if (typeof start !== 'number' && typeof start !== 'bigint') throw new TypeError(String(start))
    if (Number(start) === -1) throw new Error(`/dev/mem could not be mapped: ${koffi.errno()}`)
    return koffi.view(BigInt(start), length)
  } finally {
    closeSync(file)
  }
}
