import { randomFillSync } from 'node:crypto'
import { linkSync, readFileSync, symlinkSync, truncateSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { DiskError, FileDisk, MemoryDisk } from '@xmc/virtio'
import { describe, expect, it } from 'vitest'
import type { DiskOpener, OpenDisk } from '../src/disk-files.ts'
import { runCommand, temporaryFile, temporaryFolder } from './helpers/command.ts'

/** What a command says of bad input, as text and as JSON: the same message, and the exit code. */
async function refusal(
  parameters: readonly string[],
  openDisk?: DiskOpener,
): Promise<{ readonly exitCode: number; readonly code: string; readonly message: string }> {
  const text = await runCommand(parameters, { openDisk })
  const json = await runCommand([...parameters.slice(0, 1), '--json', ...parameters.slice(1)], {
    openDisk,
  })
  expect(text.stdout).toBe('')
  expect(json.stderr).toBe('')
  const { error } = JSON.parse(json.stdout)
  expect(text.stderr.replace(/arm-virt: (?<message>.*)\n$/, '$<message>')).toBe(error.message)
  expect(error.message).not.toContain('\n')
  expect(json.code).toBe(text.code)
  return { exitCode: text.code, ...error }
}

/** A disk that a job opens, in memory, and counts whether it was closed. */
class TestDisk extends MemoryDisk implements OpenDisk {
  static open = 0
  readonly fileSize: number

  constructor(size: number, options: { readonly readOnly?: boolean } = {}) {
    super(size, options)
    this.fileSize = size
    TestDisk.open += 1
  }

  async close(): Promise<void> {
    TestDisk.open -= 1
  }
}

/** Opens a file that is cut off at 1 MiB before anything of it is read. */
const openTruncated: DiskOpener = async (path, options) => {
  const disk = await FileDisk.open(path, options)
  truncateSync(path, 2 ** 20)
  return disk
}

/** Opens a file that is cut off as soon as something of it was read. */
const openShrinking: DiskOpener = async (path, options) => {
  const disk = await FileDisk.open(path, options)
  const read = disk.read.bind(disk)
  disk.read = async (buffers, position) => {
    await read(buffers, position)
    truncateSync(path, 512)
  }
  return disk
}

/** Opens a file of which the guest gets byte 100 wrong. */
const openChanging: DiskOpener = async (path, options) => {
  const disk = await FileDisk.open(path, options)
  const read = disk.read.bind(disk)
  disk.read = async (buffers, position) => {
    await read(buffers, position)
    if (position === 0) buffers[0]?.fill(1, 100, 101)
  }
  return disk
}

describe('disks that cannot be served', () => {
  it('no such disk', async () => {
    const disk = `${temporaryFolder()}/missing.img`
    expect(await refusal(['selftest', '--disk', disk])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_DISK',
      message: `${disk}: the file cannot be opened (ENOENT: no such file or directory, stat '${disk}'): give the path of a file that exists`,
    })
  })

  it('a directory', async () => {
    const disk = temporaryFolder()
    expect(await refusal(['selftest', '--disk', disk])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_DISK',
      message: `${disk}: a directory cannot be a disk: give a file`,
    })
  })

  it('something else than a file', async () => {
    expect(await refusal(['selftest', '--disk', '/dev/null', '--read-only'])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_DISK',
      message: '/dev/null: only a regular file or a block device can be a disk',
    })
  })

  it.each([[[]], [['--read-only']]])('an empty file %j', async (options) => {
    const disk = temporaryFile(new Uint8Array())
    expect(await refusal(['selftest', '--disk', disk, ...options])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_DISK',
      message: `${disk}: the file is empty: a disk has at least a byte`,
    })
  })

  it('a size that is no multiple of 512, to be written', async () => {
    const disk = temporaryFile(new Uint8Array(1000))
    expect(await refusal(['selftest', '--disk', disk])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_DISK',
      message: `${disk}: the file has 1000 bytes, 488 over a multiple of 512: open it read-only, or change its size`,
    })
  })

  it('a copy onto a disk that is too small', async () => {
    const source = temporaryFile(new Uint8Array(2048))
    const target = temporaryFile(new Uint8Array(1024))
    expect(await refusal(['copy', source, target])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_ARGUMENT',
      message: 'target: expected a disk of at least 4 sectors, as the source has, got 2',
    })
    expect(readFileSync(target).equals(Buffer.alloc(1024))).toBe(true)
  })
})

describe('disks that fail while they are served', () => {
  it('a disk that is truncated', async () => {
    const content = randomFillSync(new Uint8Array(8 * 2 ** 20))
    const disk = temporaryFile(content)
    const parameters = ['selftest', '--disk', disk, '--read-only', '--block-size', '64K']
    const { code, stderr } = await runCommand(parameters, { openDisk: openTruncated })
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^arm-virt: .*disk\.img: the file ends at or before \d+ and had 8388608 bytes when it was opened: .*\n$/,
    )
  })

  it('a disk that is truncated after the guest has read it', async () => {
    const disk = temporaryFile(new Uint8Array(2 ** 20))
    const { code, stderr } = await runCommand(['selftest', '--disk', disk], {
      openDisk: openShrinking,
    })
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `arm-virt: ${disk}: the file ends at 512 and had 1048576 bytes when it was opened\n`,
    })
  })

  it('a disk that somebody else writes to', async () => {
    const disk = temporaryFile(new Uint8Array(2 ** 20))
    const environment = { openDisk: openChanging }
    const plain = await runCommand(['selftest', '--disk', disk], environment)
    expect(plain.code).toBe(1)
    expect(plain.stderr).toMatch(
      /^arm-virt: .*: what the guest moved has SHA-256 [0-9a-f]{64}, the file has [0-9a-f]{64}: /,
    )
    expect(await runCommand(['selftest', '--disk', disk, '--verify'], environment)).toEqual({
      code: 1,
      stdout: '',
      stderr: `arm-virt: ${disk}: byte 100 is not what the guest read there: see whether somebody writes to the file\n`,
    })
  })

  it.each([
    ['full', 'ENOSPC'],
    ['read-only', 'EROFS'],
  ] as const)('a disk that gets %s', async (reason, errnoName) => {
    class FailingDisk extends TestDisk {
      #writes = 0

      override async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
        this.#writes += 1
        if (this.#writes < 3) return await super.write(buffers, position)
        throw new DiskError('target', reason, `no more (${errnoName})`, { errnoName })
      }
    }
    const source = temporaryFile(randomFillSync(new Uint8Array(2 ** 20)))
    const openDisk: DiskOpener = (path, options) =>
      path === source ? FileDisk.open(path, options) : Promise.resolve(new FailingDisk(2 ** 20))
    expect(await refusal(['copy', source, 'target', '--block-size', '64K'], openDisk)).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_DISK',
      message: `target: no more (${errnoName})`,
    })
    expect(TestDisk.open).toBe(0)
  })

  it('a write to a read-only disk', async () => {
    const source = temporaryFile(randomFillSync(new Uint8Array(2 ** 20)))
    const target = temporaryFile(new Uint8Array(2 ** 20))
    expect(await refusal(['copy', source, target, '--read-only'])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_DISK_READ_ONLY',
      message: 'the disk is read-only (VIRTIO_BLK_F_RO): attach it writable',
    })
    expect(readFileSync(target).equals(Buffer.alloc(2 ** 20))).toBe(true)
  })
})

describe('command lines that are wrong', () => {
  it.each([
    [['selftest', '--frobnicate'], "unknown option '--frobnicate'"],
    [['selftest', '--readonly'], "unknown option '--readonly' (Did you mean --read-only?)"],
    [['selftest', '--dsik', 'a'], "unknown option '--dsik' (Did you mean --disk?)"],
    [['serve', '--dsik', 'a'], "unknown option '--dsik' (Did you mean --disk?)"],
    [['copy', '--memroy', '1G'], "unknown option '--memroy' (Did you mean --memory?)"],
    [['stats', '--dsik', 'a'], "unknown option '--dsik' (Did you mean --disk?)"],
    [['mtree', '--device', '2'], "unknown option '--device' (Did you mean --devices?)"],
    [['doctor', '--jsno'], "unknown option '--jsno' (Did you mean --json?)"],
    [['serve', '--verify'], "option '--verify' is none of serve, but of selftest, stats"],
    [['selftest', '--domain', '1'], "option '--domain' is none of selftest, but of serve"],
    [['selftest', 'disk.img'], "too many arguments for 'selftest'. Expected 0 arguments but got 1"],
    [['copy', 'disk.img'], "missing required argument 'target'"],
    [['selftest', '--disk'], "option '--disk <file>' argument missing"],
    [
      ['selftest', '--grants', '--foreign'],
      "option '--grants' cannot be used with option '--foreign'",
    ],
    [
      ['selftest', '--queue-size', '100'],
      "option '--queue-size <number>' argument '100' is invalid. Give a power of 2 from 4 to 32768",
    ],
    [
      ['serve', '--queue-size', 'many'],
      "option '--queue-size <number>' argument 'many' is invalid. Give a power of 2 from 4 to 32768",
    ],
    [
      ['selftest', '--memory', '-1'],
      "option '--memory <bytes>' argument '-1' is invalid. Give a number of bytes, as 4096, 256K, 512M or 2G",
    ],
    [
      ['selftest', '--memory', '99999999999T'],
      "option '--memory <bytes>' argument '99999999999T' is invalid. Give a number of bytes, as 4096, 256K, 512M or 2G",
    ],
    ...['0', '1', '1000', '1020G', '2T'].flatMap((memory): [string[], string][] =>
      ['selftest', 'stats', 'mtree'].map((command) => [
        [command, '--memory', memory],
        `option '--memory <bytes>' argument '${memory}' is invalid. Give a multiple of 4K from 4K to 1019G, all that the address map has room for`,
      ]),
    ),
    [
      ['mtree', '--devices', '12'],
      "option '--devices <number>' argument '12' is invalid. Give an integer from 0 to 11",
    ],
    [
      ['selftest', ...Array.from({ length: 12 }, (_, index) => `--disk=${index}`)],
      "option '--disk <file>' argument '11' is invalid. The board has 11 transports: give fewer disks",
    ],
    [
      ['serve', '--domain=1', ...Array.from({ length: 12 }, (_, index) => `--disk=${index}`)],
      "option '--disk <file>' argument '11' is invalid. The board has 11 transports: give fewer disks",
    ],
    [
      ['selftest', '--block-size', '1000'],
      "option '--block-size <bytes>' argument '1000' is invalid. Give a multiple of 512 from 512 to 1M",
    ],
    [
      ['selftest', '--in-flight', '0'],
      "option '--in-flight <number>' argument '0' is invalid. Give an integer from 1 to 4096",
    ],
    [
      ['serve', '--domain', '1', '--disk', 'a', '--in-flight', '257'],
      "option '--in-flight <number>' argument '257' is invalid. A queue of 256 has no more requests: see --queue-size",
    ],
    [
      ['serve', '--domain', '32752'],
      "option '--domain <id>' argument '32752' is invalid. Give an integer from 1 to 32751",
    ],
    [
      ['serve', '--disk', 'a'],
      'serve needs --domain <id>, the domain to serve; "arm-virt selftest" has a simulated guest',
    ],
    [['serve', '--domain', '1'], 'serve needs --disk <file>'],
    [
      ['selftest', '--misbehave', 'nicely'],
      "option '--misbehave <how>' argument 'nicely' is invalid. Allowed choices are resets, dies, revokes, garbage",
    ],
    [
      ['selftest', '--misbehave', 'revokes', '--foreign'],
      "option '--misbehave revokes' cannot be used with option '--foreign': there is no grant to revoke",
    ],
  ])('%j', async (parameters, problem) => {
    expect(await refusal(parameters)).toEqual({
      exitCode: 2,
      code: 'ERR_XMC_USAGE',
      message: `${problem}; see arm-virt ${parameters[0]} --help`,
    })
  })

  it('a command that there is not', async () => {
    expect(await refusal(['frobnicate'])).toEqual({
      exitCode: 2,
      code: 'ERR_XMC_USAGE',
      message: "unknown command 'frobnicate'; see arm-virt --help",
    })
  })

  it('without a command, the help is shown', async () => {
    const { code, stdout, stderr } = await runCommand([])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^Usage: arm-virt /)
  })
})

describe('one file for two disks', () => {
  const content = new Uint8Array(1024).fill(7)

  it.each([
    ['the same name', (file: string) => file],
    ['another spelling', (file: string) => `${dirname(file)}/./${basename(file)}`],
    [
      'a symbolic link',
      (file: string) => {
        symlinkSync(file, `${file}.link`)
        return `${file}.link`
      },
    ],
    [
      'a hard link',
      (file: string) => {
        linkSync(file, `${file}.link`)
        return `${file}.link`
      },
    ],
  ])('is refused: %s', async (_, alias) => {
    const file = temporaryFile(content)
    const other = alias(file)
    expect(await refusal(['copy', file, other])).toEqual({
      exitCode: 2,
      code: 'ERR_XMC_USAGE',
      message: `arguments 'source' and 'target' are the same file, '${other}'. Give another target; see arm-virt copy --help`,
    })
    for (const command of [['selftest'], ['serve', '--domain=1']]) {
      expect(await refusal([...command, '--disk', file, '--disk', other])).toEqual({
        exitCode: 2,
        code: 'ERR_XMC_USAGE',
        message: `option '--disk <file>' argument '${other}' is invalid. It is the file of '--disk ${file}' too: give another, or --read-only; see arm-virt ${command[0]} --help`,
      })
    }
    expect(readFileSync(file).equals(Buffer.from(content))).toBe(true)
  })

  it('can be read by two of them', async () => {
    const file = temporaryFile(content)
    const disks = ['--disk', file, '--disk', file, '--read-only']
    expect((await runCommand(['selftest', ...disks])).code).toBe(0)
  })
})

describe('machines that cannot be built', () => {
  it.each([
    [[], '16 MiB', '16 requests of 1 MiB', '16M'],
    [['--in-flight', '1'], '1 MiB', '1 request of 1 MiB', '1M'],
    [['--block-size', '64K', '--in-flight', '4096'], '64 MiB', '4,096 requests of 64 KiB', '64M'],
    [['--in-flight', '1', '--block-size', '512'], '4 KiB', '1 request of 512 bytes', '4K'],
  ])('too little RAM for the guest to work in: %j', async (options, ram, requests, memory) => {
    const message =
      `the guest's ${ram} of RAM are too little for ${requests} at a time on each disk and queues of 256: ` +
      'give it more by --memory, or less to do by --in-flight, --block-size or --queue-size'
    const job = [...options, '--memory', memory]
    expect(await refusal(['selftest', ...job])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_GUEST_MEMORY_EXHAUSTED',
      message,
    })
  })

  it('too little RAM for a copy', async () => {
    const source = temporaryFile(new Uint8Array(2 ** 20))
    const target = temporaryFile(new Uint8Array(2 ** 20))
    expect(await refusal(['copy', source, target, '--memory', '512K'])).toMatchObject({
      exitCode: 1,
      code: 'ERR_XMC_GUEST_MEMORY_EXHAUSTED',
      message: expect.stringMatching(/^the guest's 512 KiB of RAM are too little for 16 requests/),
    })
  })
})

// A job that leaves anything mapped, pinned or bound ends with ERR_XMC_LEFTOVERS instead of these.
describe.each([[['--grants']], [['--foreign']]])('guests that do wrong, %j', (mode) => {
  it('a guest that resets its disk with requests under way', async () => {
    expect(await refusal(['selftest', '--misbehave', 'resets', ...mode])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_DEVICE_RESET',
      message: 'the device was reset before the call was done: start it and repeat the call',
    })
  })

  it('a guest that dies with requests under way', async () => {
    expect(await refusal(['selftest', '--misbehave', 'dies', ...mode])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_DOMAIN_ENDED',
      message: 'domain 1 was destroyed while its disk was in use: start the guest again',
    })
  })

  it('a guest with a garbage ring', async () => {
    expect(await refusal(['selftest', '--misbehave', 'garbage', ...mode])).toEqual({
      exitCode: 1,
      code: 'ERR_XMC_VIRTQUEUE',
      message:
        'queue 0: the available index 32800 is 32768 ahead in a queue of 256: the driver has to reset the device',
    })
  })
})

describe('guests that do wrong with grants', () => {
  it('a guest that revokes a grant that is in flight', async () => {
    const { exitCode, code, message } = await refusal(['selftest', '--misbehave', 'revokes'])
    expect({ exitCode, code }).toEqual({ exitCode: 1, code: 'ERR_XMC_GUEST_BUFFER' })
    expect(message).toMatch(
      /^queue 0: 65536 bytes at 0x8[0-9a-f]{15} cannot be written \(domain 1: 16 references .* could not be mapped for writing \(EINVAL\): reference \d+: GNTST_general_error, /,
    )
  })
})
