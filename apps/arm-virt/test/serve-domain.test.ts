import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
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
    [['--domain', '1'], 'serve needs --disk'],
    [['--disk', 'a', '--disk', 'b'], 'serve needs --domain'],
  ])('refuses %j', async (parameters, message) => {
    const { code, stderr } = await runCommand(['serve', ...parameters])
    expect(stderr).toContain(message)
    expect(code).toBe(2)
  })
})
