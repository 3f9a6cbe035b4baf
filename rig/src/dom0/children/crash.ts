import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { openWindow } from '@xmc/hostmem'
import { domainId, grantReference, guestFrame, windowPage } from '@xmc/interface'
import { Hypervisor } from '@xmc/xen'
import { holeFrame, reservedFrames } from '../../guest/memory-layout.ts'
import { guestDomain } from '../guest.ts'

const OWN = domainId(0)
const GUEST = domainId(guestDomain)
const START = windowPage(0)

/** What a child does, by name. Its answer is what it prints, and how it ends. */
const scenarios: Readonly<Record<string, (reference: number) => unknown>> = {
  /** Touches a stale view of everything that a window had, after the end of all of it. */
  'stale-views'(reference) {
    const hypervisor = new Hypervisor()
    const window = openWindow({ pageCount: 64 })
    const bytes = new Uint8Array(window.buffer, window.byteOffset, 64 * 4096)
    const table = hypervisor.grantTable()
    const memory = hypervisor.foreignMemory()
    const frames = { first: guestFrame(reservedFrames.first), count: 16 }
    const references = [grantReference(reference)]
    for (const end of ['unmap', 'close', 'window']) {
      if (end === 'window') {
        hypervisor.close()
        window.close()
      } else {
        table.map({ domain: OWN, window, windowPage: START, references, writable: true })
        memory.map({ domain: GUEST, window, windowPage: windowPage(16), frames, writable: true })
        bytes[0] = 1
        if (end === 'unmap') {
          table.unmap(window, START, 1)
          memory.unmap(window, windowPage(16), 16)
        } else {
          table.close()
          memory.close()
        }
      }
      const touched = touchAll(bytes)
      if (touched !== 0) return `${touched} bytes were not zero after ${end}`
    }
    return 'zeros'
  },

  /** Touches every page of the targets of maps with holes, and of refused ones. */
  'failed-pages'(reference) {
    using hypervisor = new Hypervisor()
    const window = openWindow({ pageCount: 64 })
    const bytes = new Uint8Array(window.buffer, window.byteOffset, 64 * 4096)
    const table = hypervisor.grantTable()
    const memory = hypervisor.foreignMemory()
    const { first } = reservedFrames
    const frames = Array.from({ length: 16 }, (_, i) =>
      guestFrame(i % 3 === 1 ? holeFrame : first + i),
    )
    const target = { domain: GUEST, window, windowPage: START, frames, writable: true }
    const refusals: string[] = []
    const attempt = (action: () => void): void => {
      try {
        action()
      } catch (error) {
        refusals.push(
          error instanceof Error && 'errnoName' in error ? String(error.errnoName) : String(error),
        )
      }
      bytes.fill(0xee)
    }
    attempt(() => memory.map({ ...target, errors: new Int32Array(16) }))
    attempt(() => memory.map(target))
    attempt(() => memory.map({ ...target, domain: domainId(77) }))
    const references = [reference, 0xffff_fff0].map(grantReference)
    attempt(() =>
      table.map({ domain: OWN, window, windowPage: windowPage(32), references, writable: true }),
    )
    return refusals.join(' ')
  },

  /** Holds a grant with a notification, and is killed. */
  killed(reference) {
    const hypervisor = new Hypervisor()
    const window = openWindow({ pageCount: 16 })
    const table = hypervisor.grantTable()
    const references = [grantReference(reference)]
    table.map({ domain: OWN, window, windowPage: START, references, writable: true })
    table.setUnmapNotify(window, START, { clearByte: 100 })
    new Uint8Array(window.buffer, window.byteOffset, 4096)[200] = 7
    process.kill(process.pid, 'SIGKILL')
  },

  /** Maps a grant 128 times and ends without a word. */
  careless(reference) {
    const hypervisor = new Hypervisor()
    const window = openWindow({ pageCount: 128 })
    const table = hypervisor.grantTable()
    const references = [grantReference(reference)]
    for (let page = 0; page < 128; page++) {
      table.map({ domain: OWN, window, windowPage: windowPage(page), references, writable: true })
    }
    hypervisor.eventChannels.allocateUnbound(OWN, OWN)
    hypervisor.sharePages({ to: 0, pageCount: 8 })
    hypervisor.foreignMemory()
    return 'open'
  },

  /** What a child of a child sees of its mappings and devices. */
  parent(reference) {
    using hypervisor = new Hypervisor()
    const window = openWindow({ pageCount: 64 })
    const table = hypervisor.grantTable()
    const memory = hypervisor.foreignMemory()
    const references = [grantReference(reference)]
    const frames = { first: guestFrame(reservedFrames.first), count: 16 }
    table.map({ domain: OWN, window, windowPage: START, references, writable: true })
    memory.map({ domain: GUEST, window, windowPage: windowPage(16), frames, writable: true })
    hypervisor.sharePages({ to: 0, pageCount: 1 })
    hypervisor.eventChannels.allocateUnbound(OWN, OWN)
    const { stdout } = spawnSync('sh', ['-c', 'cat /proc/self/maps; ls -l /proc/self/fd'], {
      encoding: 'utf8',
    })
    return stdout.includes('/dev/xen') ? stdout : 'nothing'
  },

  /** Touches a page that failed, as nothing here protects it: what all the care is for. */
  'unprotected-page'() {
    const koffi: typeof import('koffi') = createRequire(import.meta.url)('koffi')
    const library = koffi.load('libxenforeignmemory.so.1')
    const open = library.func('void *xenforeignmemory_open(void *logger, unsigned int flags)')
    const map = library.func(
      'void *xenforeignmemory_map(void *handle, uint32_t domain, int protection, size_t pages, void *frames, void *errors)',
    )
    const frames = BigUint64Array.of(BigInt(reservedFrames.first), BigInt(holeFrame))
    const errors = new Int32Array(2)
    const start: unknown = map(open(null, 0), guestDomain, 3, 2, frames, errors)
    process.stdout.write(`${errors.join(' ')} `)
    return new Uint8Array(koffi.view(start, 8192))[4096]
  },

  /** Stores through a raw view of a read-only mapping. */
  'read-only-store'(reference) {
    const hypervisor = new Hypervisor()
    const window = openWindow({ pageCount: 16 })
    const references = [grantReference(reference)]
    const table = hypervisor.grantTable()
    table.map({ domain: OWN, window, windowPage: START, references, writable: false })
    process.stdout.write('mapped ')
    new Uint8Array(window.buffer, window.byteOffset, 4096)[0] = 1
    return 'stored'
  },
}

/** Reads and writes each page; returns how many bytes were not zero, and leaves zeros. */
function touchAll(bytes: Uint8Array): number {
  const count = bytes.reduce((sum, byte) => sum + (byte === 0 ? 0 : 1), 0)
  for (let at = 0; at < bytes.length; at += 4096) bytes[at] = 0xee
  bytes.fill(0)
  return count
}

const [names = '', reference = '0'] = process.argv.slice(2)
// Several can share a process, which is slow to start under emulation: a line for each.
for (const name of names.split(',')) {
  const scenario = scenarios[name]
  if (scenario === undefined) throw new Error(`no scenario is named ${name}`)
  process.stdout.write(`${String(scenario(Number(reference)))}\n`)
}
