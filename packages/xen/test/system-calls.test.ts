import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { openWindow } from '@xmc/hostmem'
import { describe, expect, it, onTestFinished } from 'vitest'
import { O_NONBLOCK, systemCalls } from '../src/internal/system-calls.ts'

const { EAGAIN, EBADF, EINVAL, ENOENT, ENOTTY } = constants.errno
const REQUEST = 0x0018_4700

describe('open', () => {
  it('gives a descriptor that no child process gets, and close gives it back', () => {
    const calls = systemCalls()
    const descriptor = calls.open('/dev/null')
    expect(descriptor).toBeGreaterThan(2)
    // Octal: O_CLOEXEC and O_RDWR among the flags.
    const flags = readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8')
    expect(flags).toMatch(/^flags:\t02\d{4}02$/m)
    calls.close(descriptor)
    expect(() => calls.close(descriptor)).toThrow('EBADF')
  })

  it('gives a negative errno for what is not there', () => {
    expect(systemCalls().open('/dev/xen-is-not-here')).toBe(-ENOENT)
  })
})

describe('ioctl', () => {
  it('gives a negative errno, on this thread and on another one', async () => {
    const calls = systemCalls()
    const descriptor = openSync('/dev/null', 'r+')
    onTestFinished(() => closeSync(descriptor))
    expect(calls.ioctl(descriptor, REQUEST, new Uint8Array(24))).toBe(-ENOTTY)
    const results = await Promise.all(
      [descriptor, -1, descriptor, -1].map((each) =>
        calls.ioctlAsync(each, REQUEST, new Uint8Array(24)),
      ),
    )
    expect(results).toEqual([-ENOTTY, -EBADF, -ENOTTY, -EBADF])
  })
})

describe('addressOf', () => {
  it('is where the kernel finds the bytes of a buffer', () => {
    const calls = systemCalls()
    const buffer = new ArrayBuffer(64)
    new Uint8Array(buffer).fill(0x5a)
    const address = calls.addressOf(buffer)
    expect(calls.addressOf(buffer)).toBe(address)
    const memory = openSync('/proc/self/mem', 'r')
    onTestFinished(() => closeSync(memory))
    const bytes = readBytes(memory, address, 64)
    expect(bytes.every((byte) => byte === 0x5a)).toBe(true)
  })
})

describe('dontFork', () => {
  it('marks a mapping, and refuses what is none', () => {
    using window = openWindow({ pageCount: 4 })
    const calls = systemCalls()
    expect(calls.dontFork(window.hostAddress + 4096, 4096)).toBe(0)
    const start = (window.hostAddress + 4096).toString(16)
    const areas = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-)/m)
    const area = areas.find((each) => each.startsWith(`${start}-`))
    expect(area).toMatch(/^VmFlags:.* dc( |$)/m)
    expect(calls.dontFork(window.hostAddress + 1, 4096)).toBe(-EINVAL)
  })
})

describe('input', () => {
  it('is signalled by SIGIO while that is wanted, read without waiting, and written', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'xmc-signal-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 'pipe')
    execFileSync('mkfifo', [path])
    const calls = systemCalls()
    const descriptor = calls.open(path, O_NONBLOCK)
    const other = openSync(path, 'r+')
    onTestFinished(() => closeSync(other))
    const bytes = new Uint8Array(16)
    expect(calls.read(descriptor, bytes)).toBe(-EAGAIN)
    const signal = once(process, 'SIGIO')
    expect(calls.signalInput(descriptor, true)).toBe(0)
    writeSync(other, Uint8Array.of(1, 2, 3, 4))
    await signal
    expect(calls.signalInput(descriptor, false)).toBe(0)
    expect(calls.read(descriptor, bytes)).toBe(4)
    expect([...bytes.subarray(0, 4)]).toEqual([1, 2, 3, 4])
    expect(calls.write(descriptor, Uint8Array.of(9))).toBe(1)
    calls.close(descriptor)
    expect(calls.signalInput(descriptor, true)).toBe(-EBADF)
  })
})

function readBytes(descriptor: number, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  readSync(descriptor, bytes, 0, length, position)
  return bytes
}
