import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { openWindow, readAddressSpaceLimits, windowPage, XmcError } from './exports.ts'

// The limit is put above what the process takes already, so that the same size fits everywhere. Threads and
// the allocator take some more until the window is opened, the more the busier the machine is: the room is
// chosen far from where another half would fit.
readAddressSpaceLimits()
const [roomMib, minimumPages] = process.argv.slice(2).map(Number)
const used = Number.parseInt(readFileSync('/proc/self/statm', 'latin1'), 10) * 4096
const limit = used + (512 + (roomMib ?? 0)) * 2 ** 20
execFileSync('prlimit', [`--pid=${process.pid}`, `--as=${limit}:`])
process.stdout.write(JSON.stringify(attempt()))

function attempt(): unknown {
  try {
    const window = openWindow({ bytes: 2 ** 32, minimumPages })
    const { requestedPages, pageCount, reason } = window
    new Uint8Array(window.buffer, window.byteOffset, 4096).fill(1)
    window.reset(windowPage(0), pageCount)
    // The heap still grows under the limit.
    const heap = Array.from({ length: 400_000 }, (_, index) => ({ index, text: `text ${index}` }))
    return { requestedPages, pageCount, reason, heap: heap.length }
  } catch (error) {
    if (error instanceof XmcError) return Object.assign({}, error, { message: error.message })
    throw error
  }
}
