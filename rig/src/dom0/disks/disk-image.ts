import { equal, ok } from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Bytes of an image. */
const IMAGE_BYTES = 32 * 2 ** 20

/** Blocks of 4 KiB, and everything zeroed from the start: Linux would write the rest of it in the background. */
const FORMAT = '-q -F -t ext4 -b 4096 -N 1024 -E lazy_itable_init=0,lazy_journal_init=0'.split(' ')

/** Exit code of `e2fsck` that has found errors and mended all of them. */
const MENDED = 1

/** A disk image of dom0 with an ext4 file system; what is done with it is done by e2fsprogs, not by a mount. */
export class DiskImage {
  /** The file. */
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** Makes an image with an empty file system, in place of one that is there. */
  static async make(path: string): Promise<DiskImage> {
    await rm(path, { force: true })
    const file = await open(path, 'wx')
    await file.truncate(IMAGE_BYTES)
    await file.close()
    equal((await run('/sbin/mke2fs', [...FORMAT, path])).code, 0)
    return new DiskImage(path)
  }

  /** @throws AssertionError with what the check says, when the file system is not clean */
  async assertClean(): Promise<void> {
    const { code, output } = await run('/sbin/e2fsck', ['-f', '-n', this.path])
    equal(code, 0, output)
  }

  /**
   * Replays the journal and mends what a computer that lost its power leaves.
   *
   * @throws AssertionError when there is anything that cannot be mended
   */
  async mend(): Promise<void> {
    const { code, output } = await run('/sbin/e2fsck', ['-f', '-y', this.path])
    ok(code === 0 || code === MENDED, `e2fsck ended with ${code}: ${output}`)
    await this.assertClean()
  }

  /** The digest, as {@link digestOf} has it, of a folder at the top of the file system. */
  async digestOf(folder: string): Promise<string> {
    const place = await mkdtemp('/tmp/image-')
    try {
      const { code, output } = await run('/sbin/debugfs', [
        '-R',
        `rdump /${folder} ${place}`,
        this.path,
      ])
      equal(code, 0, output)
      return await digestOf(join(place, folder))
    } finally {
      await rm(place, { recursive: true })
    }
  }
}

/** A command of a shell that prints one line for all files of the folder it is run in: of their contents, and of their names. */
export const DIGEST_COMMAND =
  'find . -type f | sort | tr "\\n" "\\0" | xargs -0 sha256sum | sha256sum'

/** What {@link DIGEST_COMMAND} prints for a folder of dom0. */
export async function digestOf(folder: string): Promise<string> {
  const { code, output } = await run('sh', ['-c', `cd '${folder}' && ${DIGEST_COMMAND}`])
  equal(code, 0, output)
  return output.trim()
}

function run(
  program: string,
  parameters: readonly string[],
): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}
