import { chmodSync, mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { writeInitramfs } from '../src/host/images/initramfs.ts'
import { hasTool, runTool } from '../src/host/tool.ts'
import { temporaryFolder } from './helpers/temporary-folder.ts'

function example(): string {
  const folder = temporaryFolder()
  mkdirSync(join(folder, 'bin'))
  writeFileSync(join(folder, 'bin/a program'), 'x')
  chmodSync(join(folder, 'bin/a program'), 0o755)
  symlinkSync('bin/a program', join(folder, 'init'))
  mkdirSync(join(folder, '.hidden'))
  const then = new Date('2026-01-02T03:04:05Z')
  for (const path of ['bin/a program', 'bin', '.hidden']) {
    utimesSync(join(folder, path), then, then)
  }
  return folder
}

describe('writeInitramfs', () => {
  beforeEach(({ skip }) => {
    skip(!hasTool('cpio'), 'cpio is not installed')
  })

  it('holds everything in the folder, folders first, owned by root', async () => {
    const archive = join(temporaryFolder(), 'archive.cpio')
    await writeInitramfs(example(), archive)
    const listing = await runTool('sh', [
      '-c',
      'TZ=UTC cpio --list --verbose --numeric-uid-gid --quiet < "$1"',
      'list',
      archive,
    ])
    const lines = listing.trimEnd().split('\n')
    expect(lines.map((line) => line.split(/\s+/).slice(0, 4).join(' '))).toEqual([
      'drwxr-xr-x 2 0 0',
      'drwxr-xr-x 2 0 0',
      '-rwxr-xr-x 1 0 0',
      'lrwxrwxrwx 1 0 0',
    ])
    expect(lines.map((line) => line.replace(/^.*\d\d:\d\d |^.*2026 /, ''))).toEqual([
      '.hidden',
      'bin',
      'bin/a program',
      'init -> bin/a program',
    ])
  })

  it('is an uncompressed newc archive that ends on a multiple of four bytes, so that another can follow', async () => {
    const archive = join(temporaryFolder(), 'archive.cpio')
    await writeInitramfs(example(), archive)
    const bytes = readFileSync(archive)
    expect(bytes.subarray(0, 6).toString('latin1')).toBe('070701')
    expect(bytes.length % 4).toBe(0)
  })
})
