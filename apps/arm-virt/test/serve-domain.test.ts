import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  InterruptedError,
  type ServeDomainOptions,
  SimulatedGuest,
  SimulatedHypervisor,
  serveDomain,
} from '../src/index.ts'
import { runCommand } from './helpers/command.ts'

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'xmc-serve-domain-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

/** An image of 64 KiB whose bytes are all one value. */
function image(name: string, value: number): string {
  const path = join(folder, name)
  writeFileSync(path, new Uint8Array(65_536).fill(value))
  return path
}

/** Serves a simulated domain, and gives what a test does with it. */
function served(options: Omit<ServeDomainOptions, 'domain'>) {
  const hypervisor = SimulatedHypervisor.create({ memoryBytes: 32 * 2 ** 20 })
  const notices: string[] = []
  const summary = serveDomain({
    domain: hypervisor.domain,
    attach: () => hypervisor,
    onNotice: (text) => void notices.push(text),
    ...options,
  })
  const ready = async (): Promise<void> => {
    while (!notices.some((text) => text.startsWith('serving'))) await setImmediate()
  }
  return { hypervisor, notices, summary, ready }
}

/** What a guest sees as serial numbers of its first disks. */
async function identities(hypervisor: SimulatedHypervisor, count: number): Promise<string[]> {
  const guest = new SimulatedGuest(hypervisor, { addressing: 'grants' })
  const seen: string[] = []
  for (let slot = 0; slot < count; slot++) {
    const driver = guest.blockDriver(slot, { queueSize: 16 })
    await driver.start()
    seen.push(await driver.getId())
    await driver.close()
  }
  return seen
}

describe('serveDomain', () => {
  it.each(['grants', 'foreign'] as const)(
    'serves two disks, one in each slot, until the guest shuts down: %s',
    async (addressing) => {
      const disks = [image('a', 0xaa), image('b', 0xbb)]
      const { hypervisor, notices, summary, ready } = served({ disks, addressing })
      await ready()
      const guest = new SimulatedGuest(hypervisor, { addressing })
      for (const [slot, value] of [0xaa, 0xbb].entries()) {
        const driver = guest.blockDriver(slot, { queueSize: 16 })
        await driver.start()
        expect(await driver.readBytes(7, 512)).toEqual(new Uint8Array(512).fill(value))
        await driver.close()
      }
      hypervisor.guest.shutdown()
      const { end, usage, ram, virtualCpus, disks: counted } = await summary
      expect(end).toBe('shutdown')
      expect(usage).toMatchObject({ mappedPages: 0, pinnedGrants: 0 })
      expect(ram).toEqual([{ address: '0x40000000', bytes: 32 * 2 ** 20 }])
      expect(virtualCpus).toBe(1)
      expect(counted.map(({ path }) => path)).toEqual(disks)
      for (const { requests } of counted) expect(requests).toBeGreaterThanOrEqual(1)
      expect(notices).toContain(`serving 2 disks to domain ${hypervisor.domain}, ${addressing}`)
    },
  )

  it.each(['crash', 'destroy'] as const)('ends when the guest does: %s', async (how) => {
    const { hypervisor, summary, ready } = served({ disks: [image('a', 1)] })
    await ready()
    hypervisor.guest[how]()
    expect((await summary).end).toBe(how === 'crash' ? 'crashed' : 'destroyed')
  })

  it('ends by a signal, and has let everything go', async () => {
    const interruption = new AbortController()
    const { hypervisor, summary, ready } = served({
      disks: [image('a', 1)],
      signal: interruption.signal,
    })
    await ready()
    interruption.abort(new InterruptedError('SIGTERM'))
    const { end, usage } = await summary
    expect(end).toBe('SIGTERM')
    expect(usage.mappedPages).toBe(0)
    expect(hypervisor.leftovers()).toEqual([])
  })

  it('works on as many requests at a time as it is told', async () => {
    const { hypervisor, summary, ready } = served({ disks: [image('a', 1)], inFlight: 2 })
    await ready()
    const guest = new SimulatedGuest(hypervisor, { addressing: 'grants' })
    const driver = guest.blockDriver(0, { queueSize: 16 })
    await driver.start()
    const reads = Array.from({ length: 8 }, (_, sector) => driver.readBytes(sector, 512))
    expect(await Promise.all(reads)).toHaveLength(8)
    await driver.close()
    hypervisor.guest.shutdown()
    const { board } = await summary
    expect(board.transports[0]).toMatchObject({ used: 8, mostInFlight: 2 })
  })

  it('tells a guest no name of a file, and the serial number that is asked for', async () => {
    const disks = [image('customer-4711', 1), image('b', 2)]
    const { hypervisor, summary, ready } = served({ disks, serials: ['data 1'] })
    await ready()
    expect(await identities(hypervisor, 2)).toEqual(['data 1', ''])
    hypervisor.guest.shutdown()
    await summary
  })

  it('gives the space back that a guest discards, and lets the guest see a disk that grows', async () => {
    const path = image('a', 1)
    let resized: (() => void) | undefined
    let isServing = false
    const { hypervisor, notices, summary, ready } = served({
      disks: [path],
      onServing: (look) => {
        resized = look
        isServing = true
        return () => {
          isServing = false
        }
      },
    })
    await ready()
    const guest = new SimulatedGuest(hypervisor, { addressing: 'grants' })
    const driver = guest.blockDriver(0, { queueSize: 16 })
    await driver.start()
    await driver.discard(8, 64)
    const bytes = readFileSync(path)
    expect([bytes[4095], bytes[4096], bytes[36_863], bytes[36_864]]).toEqual([1, 0, 0, 1])
    const changed = new Promise<number>((resolve) => {
      driver.onConfigurationChange(({ capacity }) => resolve(capacity))
    })
    truncateSync(path, 131_072)
    resized?.()
    expect(await changed).toBe(256)
    expect(await driver.readBytes(255, 512)).toEqual(new Uint8Array(512))
    expect(isServing).toBe(true)
    await driver.close()
    hypervisor.guest.shutdown()
    await summary
    expect(isServing).toBe(false)
    expect(notices.length).toBe(1)
    resized?.()
    expect(notices[1]).toContain('the disk is closed')
  })

  it('tells of what a guest does wrong five times for a kind and disk, and then how often it was', async () => {
    const disks = [image('a', 1), image('b', 2)]
    const { hypervisor, notices, summary, ready } = served({ disks, readOnly: true })
    await ready()
    const { ioreq } = hypervisor.guest
    for (let store = 0; store < 100; store++) {
      await ioreq.access({ address: 0x0200_0051n, size: 4, write: true, data: 0n })
    }
    // The files end behind the guest's back: every read is a request that fails.
    for (const disk of disks) truncateSync(disk, 512)
    const guest = new SimulatedGuest(hypervisor, { addressing: 'grants' })
    for (const slot of [0, 1]) {
      const driver = guest.blockDriver(slot, { queueSize: 16 })
      await driver.start()
      for (let read = 0; read < 20; read++) {
        await expect(driver.readBytes(8, 512)).rejects.toThrow('IOERR')
      }
      await driver.close()
    }
    hypervisor.guest.shutdown()
    const { board } = await summary
    expect(board.faults).toBe(100)
    for (const slot of [0, 1]) {
      const told = notices.filter((text) => text.startsWith(`slot ${slot}: `))
      expect(told.length).toBe(6)
      expect(told[5]).toMatch(/had 65536 bytes .* \(the last of 15 like it\)$/)
    }
    const faults = notices.filter((text) => text.startsWith('board: '))
    expect(faults.length).toBe(6)
    expect(faults[5]).toMatch(/ \(the last of 95 like it\)$/)
  })

  it('closes the hypervisor when a board cannot be made', async () => {
    const disks = Array.from({ length: 12 }, (_, index) => image(`${index}`, index))
    const { hypervisor, summary } = served({ disks })
    await expect(summary).rejects.toMatchObject({ code: 'ERR_XMC_TOO_MANY_DEVICES' })
    expect(() => hypervisor.createIoreqServer()).toThrow('domain')
  })

  it('does not attach when a disk cannot be opened', async () => {
    const { hypervisor, summary } = served({ disks: [join(folder, 'none')] })
    await expect(summary).rejects.toMatchObject({ code: 'ERR_XMC_DISK' })
    hypervisor.close()
  })
})

describe('arm-virt serve', () => {
  it.each([[[]], [['--xen']]])('serves disks to a domain until it ends: %j', async (more) => {
    const hypervisor = SimulatedHypervisor.create({ memoryBytes: 32 * 2 ** 20 })
    const disks = [image('a', 1), image('b', 2)]
    const domain = `${hypervisor.domain}`
    const parameters = ['--domain', domain, ...disks.flatMap((disk) => ['--disk', disk]), ...more]
    setTimeout(() => hypervisor.guest.shutdown(), 1)
    const { code, stdout, stderr } = await runCommand(['serve', ...parameters], {
      attach: () => hypervisor,
    })
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `arm-virt: serving 2 disks to domain ${domain}, grants\n`,
    })
    expect(stdout.split('\n')).toEqual([
      `domain      ${domain}, 1 virtual CPU, 32 MiB at 0x40000000`,
      `disk 0      ${disks[0]}, read-write, 0 requests`,
      `disk 1      ${disks[1]}, read-write, 0 requests`,
      expect.stringMatching(/^ended {7}shutdown, after \d+\.\d s$/),
      'cache       0 hits, 0 misses',
      expect.stringMatching(/^hypervisor {2}\d+ calls?$/),
      'left        0 pages mapped, 0 grants pinned',
      '',
    ])
  })

  it('gives a guest the serial numbers of --serial, in order', async () => {
    const hypervisor = SimulatedHypervisor.create({ memoryBytes: 32 * 2 ** 20 })
    const disks = ['--disk', image('a', 1), '--disk', image('b', 2)]
    const domain = ['--domain', `${hypervisor.domain}`]
    const serials = ['--serial', 'first', '--serial=second one']
    let look: Promise<string[]> = Promise.resolve([])
    const { code } = await runCommand(['serve', ...domain, ...disks, ...serials], {
      attach: () => hypervisor,
      onServing: () => {
        look = identities(hypervisor, 2).finally(() => hypervisor.guest.shutdown())
        return () => undefined
      },
    })
    expect(code).toBe(0)
    expect(await look).toEqual(['first', 'second one'])
  })

  it('prints one JSON object with --json, when a signal ends it', async () => {
    const hypervisor = SimulatedHypervisor.create({ memoryBytes: 32 * 2 ** 20 })
    const interruption = new AbortController()
    interruption.abort(new InterruptedError('SIGTERM'))
    const disk = image('a', 1)
    const parameters = ['--domain', `${hypervisor.domain}`, '--disk', disk, '--read-only', '--json']
    const { code, stdout } = await runCommand(['serve', ...parameters], {
      attach: () => hypervisor,
      signal: interruption.signal,
    })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      domain: hypervisor.domain,
      end: 'SIGTERM',
      disks: [{ path: disk, readOnly: true, requests: 0 }],
      usage: { mappedPages: 0, pinnedGrants: 0 },
    })
  })

  it.each([
    [['--xen', '--disk', 'a'], '--xen needs --domain'],
    [['--xen', '--domain', '1'], '--xen needs --disk'],
    [['--xen', '--domain', '0', '--disk', 'a'], 'Give an integer from 1 to 32751'],
    [['--xen', '--domain', '1', '--disk', 'a', '--verify'], "option '--verify' is none of serve"],
    [
      ['--domain', '1', '--disk', 'a', '--serial', 'größe'],
      'Give 1 to 20 printable ASCII characters',
    ],
    [['--domain', '1', '--disk', 'a', '--serial=1', '--serial=2'], '2 times --serial for 1 disk'],
    [['--domain', '1'], 'serve needs --disk'],
    [['--disk', 'a', '--disk', 'b'], 'serve needs --domain'],
  ])('refuses %j', async (parameters, message) => {
    const { code, stderr } = await runCommand(['serve', ...parameters])
    expect(stderr).toContain(message)
    expect(code).toBe(2)
  })
})
