import { spawnSync } from 'node:child_process'
import { createHash, randomFillSync } from 'node:crypto'
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { copy, selfTest } from '../src/index.ts'
import { temporaryFolder } from './helpers/command.ts'
import { ext4Tools } from './helpers/e2fsprogs.ts'

const IMAGE_BYTES = 32 * 2 ** 20

/** A folder with files of many sizes, some of them in folders of folders. */
function makeTree(folder: string): void {
  for (let index = 0; index < 40; index++) {
    const inside = join(folder, `folder-${index % 7}`, `inner-${index % 3}`)
    mkdirSync(inside, { recursive: true })
    const size = [0, 1, 511, 4096, 4097, 100_000, 777_777][index % 7] ?? 0
    writeFileSync(join(inside, `file-${index}`), randomFillSync(new Uint8Array(size)))
  }
}

describe('an ext4 image that a guest copies through the device onto a blank disk', () => {
  it.for(['grants', 'foreign'] as const)(
    'is the same, and clean, with %s',
    async (addressing, { skip }) => {
      const tools = ext4Tools()
      if (typeof tools === 'string') return skip(tools)
      const folder = temporaryFolder()
      const tree = join(folder, 'tree')
      const source = join(folder, 'source.img')
      const target = join(folder, 'target.img')
      mkdirSync(tree)
      makeTree(tree)
      writeFileSync(source, '')
      truncateSync(source, IMAGE_BYTES)
      const made = spawnSync(tools.mkfs, ['-q', '-F', '-d', tree, source], { encoding: 'utf8' })
      expect({ status: made.status, stderr: made.stderr }).toEqual({ status: 0, stderr: '' })
      writeFileSync(target, '')
      truncateSync(target, IMAGE_BYTES)
      const summary = await copy({
        source,
        target,
        addressing,
        blockBytes: 16 * 1024,
        inFlight: 64,
      })
      const digest = createHash('sha256').update(readFileSync(source)).digest('hex')
      expect(summary).toMatchObject({
        bytes: IMAGE_BYTES,
        requests: 2 * (IMAGE_BYTES / 16_384) + 1,
        sourceSha256: digest,
        targetSha256: digest,
        mappedPages: 0,
        pinnedGrants: 0,
      })
      expect(createHash('sha256').update(readFileSync(target)).digest('hex')).toBe(digest)
      const checked = spawnSync(tools.fsck, ['-n', '-f', target], { encoding: 'utf8' })
      expect(checked.status).toBe(0)
      // What was written is what a guest reads.
      const report = await selfTest({ disks: [target], addressing })
      expect(report.summary.guestSha256).toBe(digest)
    },
  )
})
