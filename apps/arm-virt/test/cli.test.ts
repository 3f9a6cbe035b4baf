import { createHash, randomFillSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { openFileDisk } from '../src/disk-files.ts'
import { runCommand, temporaryFile } from './helpers/command.ts'

const MANIFEST = new URL('../package.json', import.meta.url)

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function randomBytes(length: number): Uint8Array {
  return randomFillSync(new Uint8Array(length))
}

describe('selftest', () => {
  it('tells what the guest read, and what it cost', async () => {
    const content = randomBytes(3 * 2 ** 20 + 1024)
    const disk = temporaryFile(content)
    const digest = sha256(content)
    const { code, stdout, stderr } = await runCommand(['selftest', '--disk', disk])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.split('\n')).toEqual([
      `disk        ${disk}, read-write`,
      'guest       512 MiB of RAM, grants, queue of 256',
      'read        3,146,752 bytes in 4 requests, up to 16 in flight',
      expect.stringMatching(/^time {8}\d+\.\d{3} s, \d+\.\d MB\/s$/),
      `SHA-256     ${digest}  computed by the guest`,
      `            ${digest}  of the file: equal`,
      expect.stringMatching(/^cache {7}0 hits, \d+ misses$/),
      expect.stringMatching(/^hypervisor {2}\d+ calls$/),
      'left        0 pages mapped, 0 grants pinned',
      '',
    ])
  })

  it('prints one JSON object and nothing else with --json', async () => {
    const content = randomBytes(2 ** 20)
    const disk = temporaryFile(content)
    const { code, stdout, stderr } = await runCommand(['selftest', '--disk', disk, '--json'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const summary: unknown = JSON.parse(stdout)
    expect(summary).toEqual({
      bytes: 2 ** 20,
      requests: 1,
      guestSha256: sha256(content),
      hostSha256: sha256(content),
      seconds: expect.any(Number),
      bytesPerSecond: expect.any(Number),
      cache: { hits: 0, misses: 4 },
      hypervisorCalls: expect.any(Number),
      mappedPages: 0,
      pinnedGrants: 0,
    })
    expect(stdout).toMatch(/^\{.*\}\n$/)
  })

  it.each([
    ['grants', '--grants'],
    ['plain addresses', '--foreign'],
  ])('serves a guest that uses %s', async (name, option) => {
    const disk = temporaryFile(randomBytes(2 ** 20))
    const { code, stdout } = await runCommand(['selftest', '--disk', disk, option, '--verify'])
    expect(code).toBe(0)
    expect(stdout).toContain(`${name}, queue of 256`)
    expect(stdout).toContain('0 pages mapped, 0 grants pinned')
  })

  it('pads the last sector of a read-only disk, and takes the digests of the file', async () => {
    const content = randomBytes(2 ** 16 + 100)
    const disk = temporaryFile(content)
    const { stdout } = await runCommand(['selftest', '--disk', disk, '--read-only', '--json'])
    expect(JSON.parse(stdout)).toMatchObject({
      bytes: 2 ** 16 + 100,
      guestSha256: sha256(content),
      hostSha256: sha256(content),
    })
  })

  it('serves a disk of one byte', async () => {
    const disk = temporaryFile(Uint8Array.of(7))
    const { stdout } = await runCommand(['selftest', '--disk', disk, '--read-only', '--json'])
    expect(JSON.parse(stdout)).toMatchObject({
      bytes: 1,
      requests: 1,
      guestSha256: sha256(Uint8Array.of(7)),
    })
  })

  it('counts one of a thing as one', async () => {
    const disk = temporaryFile(Uint8Array.of(7))
    const { stdout } = await runCommand(['selftest', '--disk', disk, '--read-only'])
    expect(stdout).toContain('\nread        1 byte in 1 request, up to 16 in flight\n')
    // How fast a byte was read depends on the machine; it is never told as 0.0 of a unit.
    expect(stdout).toMatch(
      /\ntime {8}\d+\.\d{3} s, (under 1 B|\d+ B|\d+\.[1-9] kB|[1-9]\d*\.\d kB)\/s\n/,
    )
  })

  it('reads several disks, and tells of each', async () => {
    const contents = [3, 1, 2].map((mebibytes) => randomBytes(mebibytes * 2 ** 20))
    const disks = contents.map((content) => temporaryFile(content))
    const digests = contents.map((content) => sha256(content))
    const parameters = disks.flatMap((disk) => ['--disk', disk])
    const text = await runCommand(['selftest', ...parameters, '--read-only', '--verify'])
    expect({ code: text.code, stderr: text.stderr }).toEqual({ code: 0, stderr: '' })
    expect(text.stdout.split('\n')).toEqual([
      `disk 0      ${disks[0]}, read-only`,
      `disk 1      ${disks[1]}, read-only`,
      `disk 2      ${disks[2]}, read-only`,
      'guest       512 MiB of RAM, grants, queue of 256',
      'read        6,291,456 bytes in 6 requests, up to 16 in flight',
      expect.stringMatching(/^time {8}/),
      `SHA-256 0   ${digests[0]}  computed by the guest`,
      `            ${digests[0]}  of the file: equal`,
      `SHA-256 1   ${digests[1]}  computed by the guest`,
      `            ${digests[1]}  of the file: equal`,
      `SHA-256 2   ${digests[2]}  computed by the guest`,
      `            ${digests[2]}  of the file: equal`,
      expect.stringMatching(/^cache {7}0 hits, \d+ misses$/),
      expect.stringMatching(/^hypervisor {2}\d+ calls$/),
      'left        0 pages mapped, 0 grants pinned',
      '',
    ])
    const json = await runCommand(['selftest', ...parameters, '--foreign', '--json'])
    expect(JSON.parse(json.stdout)).toEqual({
      bytes: 6 * 2 ** 20,
      requests: 6,
      guestSha256: digests[0],
      hostSha256: digests[0],
      seconds: expect.any(Number),
      bytesPerSecond: expect.any(Number),
      cache: { hits: expect.any(Number), misses: expect.any(Number) },
      hypervisorCalls: expect.any(Number),
      mappedPages: 0,
      pinnedGrants: 0,
      disks: [3, 1, 2].map((requests, slot) => ({
        path: disks[slot],
        readOnly: false,
        bytes: requests * 2 ** 20,
        requests,
        guestSha256: digests[slot],
        hostSha256: digests[slot],
      })),
    })
  })

  it('reads as many disks as the board has transports', async () => {
    const contents = Array.from({ length: 11 }, () => randomBytes(4096))
    const parameters = contents.flatMap((content) => ['--disk', temporaryFile(content)])
    const { stdout } = await runCommand(['selftest', ...parameters, '--json'])
    expect(JSON.parse(stdout)).toMatchObject({
      bytes: 11 * 4096,
      disks: contents.map((content) => ({ bytes: 4096, guestSha256: sha256(content) })),
    })
  })

  it('says which of several disks was not read as it is', async () => {
    const [good, bad] = [temporaryFile(randomBytes(2 ** 20)), temporaryFile(randomBytes(2 ** 20))]
    const { code, stderr } = await runCommand(['selftest', '--disk', good, '--disk', bad], {
      openDisk: async (path, options) => {
        const disk = await openFileDisk(path, options)
        if (path === bad) disk.read = async (buffers) => void buffers[0]?.fill(0)
        return disk
      },
    })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^arm-virt: (?<path>\S+): what the guest moved has SHA-256/)
    expect(stderr).toContain(`arm-virt: ${bad}: `)
  })

  it('serves by queues and requests of the size that is asked for', async () => {
    const disk = temporaryFile(randomBytes(2 ** 18))
    const options = ['--queue-size', '4', '--block-size', '4K', '--in-flight', '8']
    const { stdout } = await runCommand(['selftest', '--disk', disk, ...options, '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ bytes: 2 ** 18, requests: 64, mappedPages: 0 })
  })

  it('serves the executable of Node without --disk', async () => {
    const { code, stdout } = await runCommand(['selftest', '--foreign', '--json'])
    expect(code).toBe(0)
    const digest = sha256(readFileSync(process.execPath))
    expect(JSON.parse(stdout)).toMatchObject({ guestSha256: digest, hostSha256: digest })
  })

  it('does not change the disk', async () => {
    const content = randomBytes(2 ** 18)
    const disk = temporaryFile(content)
    await runCommand(['selftest', '--disk', disk])
    expect(sha256(readFileSync(disk))).toBe(sha256(content))
  })
})

describe('copy', () => {
  it('copies a disk, flushes, and compares the files', async () => {
    const content = randomBytes(3 * 2 ** 20 + 512)
    const source = temporaryFile(content)
    const target = temporaryFile(new Uint8Array(4 * 2 ** 20))
    const { code, stdout } = await runCommand(['copy', source, target, '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toEqual({
      bytes: 3 * 2 ** 20 + 512,
      requests: 9,
      sourceSha256: sha256(content),
      targetSha256: sha256(content),
      seconds: expect.any(Number),
      bytesPerSecond: expect.any(Number),
      cache: { hits: 0, misses: expect.any(Number) },
      hypervisorCalls: expect.any(Number),
      mappedPages: 0,
      pinnedGrants: 0,
    })
    expect(sha256(readFileSync(target).subarray(0, content.length))).toBe(sha256(content))
  })

  it('tells what was copied', async () => {
    const source = temporaryFile(randomBytes(2 ** 20))
    const target = temporaryFile(new Uint8Array(2 ** 20))
    const { stdout } = await runCommand(['copy', source, target, '--foreign'])
    expect(stdout).toContain('copied      1,048,576 bytes in 3 requests')
    expect(stdout).toContain('of the target: equal')
    expect(stdout).toContain('left        0 pages mapped, 0 grants pinned')
  })
})

describe('mtree', () => {
  it('prints what processors see and what devices reach', async () => {
    const { code, stdout } = await runCommand(['mtree', '--memory', '4G'])
    expect(code).toBe(0)
    const lines = stdout.split('\n')
    expect(lines.slice(0, 4)).toEqual([
      'address-space: memory',
      '  0000000000000000-ffffffffffffffff (prio 0, i/o): system',
      '    0000000002000000-00000000020001ff (prio 0, i/o): virtio-mmio.0',
      '    0000000002000200-00000000020003ff (prio 0, i/o): virtio-mmio.1 (empty)',
    ])
    expect(lines).toContain(
      '    0000000040000000-00000000ffffffff (prio 0, ram): alias xen.ram.lo @xen.ram 0000000040000000-00000000ffffffff',
    )
    expect(lines).toContain(
      '    0000000200000000-000000023fffffff (prio 0, ram): alias xen.ram.hi @xen.ram 0000000200000000-000000023fffffff',
    )
    expect(lines).toContain('    8000000000000000-8000000007ffffff (prio 0, ram): xen.grants')
    expect(lines).toContain('address-space: dma')
  })

  it('prints the ranges that are seen, as text and as JSON', async () => {
    const flat = await runCommand(['mtree', '--flat', '--devices', '2'])
    expect(flat.stdout).toContain('flat view: memory, root system')
    expect(flat.stdout).toContain(
      '0000000002000200-00000000020003ff (prio 0, i/o): virtio-mmio.1\n',
    )
    const json = await runCommand(['mtree', '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({
      dma: [
        {
          region: 'xen.ram',
          first: '0x40000000',
          last: '0x5fffffff',
          offset: '0x40000000',
          readOnly: false,
        },
        { region: 'xen.grants', first: '0x8000000000000000', last: '0x8000000007ffffff' },
      ],
    })
  })
})

describe('stats', () => {
  it('prints every counter of a run', async () => {
    const disk = temporaryFile(randomBytes(2 ** 20))
    const { code, stdout } = await runCommand(['stats', '--disk', disk, '--block-size', '64K'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^foreignCache\n {2}hits +0\n/)
    expect(stdout).toMatch(/\ndriver\n {2}requests +16\n/)
    const json = await runCommand(['stats', '--disk', disk, '--block-size', '64K', '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({
      grantCache: { mapCalls: 19, unmapCalls: 19, copyCalls: 32, locks: 0 },
      hypervisor: { mappedPages: 0, pinnedGrants: 0, memoryCalls: 70 },
      transport: { used: 16, faults: 0, ignored: 0 },
      board: { faults: 0 },
      driver: { requests: 16, completions: 16, errors: 0, bytesRead: 2 ** 20 },
    })
  })

  it('prints those of each disk', async () => {
    const disks = [2 ** 20, 2 ** 16].flatMap((size) => ['--disk', temporaryFile(randomBytes(size))])
    const { stdout } = await runCommand(['stats', ...disks, '--block-size', '64K'])
    expect(stdout).toMatch(/\ndriver 0\n {2}requests +16\n/)
    expect(stdout).toMatch(/\ndriver 1\n {2}requests +1\n/)
    const json = await runCommand(['stats', ...disks, '--block-size', '64K', '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({
      driver: { requests: 16 },
      disks: [
        { transport: { used: 16 }, driver: { requests: 16, bytesRead: 2 ** 20 } },
        { transport: { used: 1 }, driver: { requests: 1, bytesRead: 2 ** 16 } },
      ],
    })
  })
})

describe('help and version', () => {
  it.each([
    [['--help']],
    [['serve', '--help']],
    [['selftest', '--help']],
    [['copy', '--help']],
    [['mtree', '--help']],
    [['doctor', '--help']],
    [['stats', '--help']],
    [['help', 'serve']],
  ])('%j is answered on standard output', async (parameters) => {
    const { code, stdout, stderr } = await runCommand(parameters)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^Usage: arm-virt/)
  })

  it('--version is that of the package', async () => {
    const { version } = JSON.parse(readFileSync(MANIFEST, 'utf8'))
    expect(await runCommand(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })
})
