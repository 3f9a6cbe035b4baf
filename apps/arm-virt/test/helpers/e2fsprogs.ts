import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { getuid } from 'node:process'

/** Where Linux systems keep them; not always on PATH. */
const FOLDERS: readonly string[] = ['/usr/sbin', '/sbin', '/usr/bin', '/bin']

/** The tools of ext4, by their paths. */
export interface Ext4Tools {
  readonly mkfs: string
  readonly fsck: string
}

/**
 * Finds `mkfs.ext4` and `fsck.ext4`. On a machine for continuous integration (`CI` is set), where this runs
 * as root, Debian's package is installed if it is missing. Else the reason why there are none.
 */
export function ext4Tools(): Ext4Tools | string {
  const found = find()
  if (found !== undefined) return found
  if (process.env['CI'] === undefined || getuid?.() !== 0) {
    return 'mkfs.ext4 and fsck.ext4 are not installed: install e2fsprogs'
  }
  const install = ['apt-get', 'install', '--yes', '--no-install-recommends', 'e2fsprogs']
  if (!runs(install)) {
    runs(['apt-get', 'update'])
    runs(install)
  }
  return find() ?? 'e2fsprogs is not installed, and apt-get could not install it'
}

function find(): Ext4Tools | undefined {
  const folder = FOLDERS.find((each) => existsSync(`${each}/mkfs.ext4`))
  if (folder === undefined || !existsSync(`${folder}/fsck.ext4`)) return undefined
  return { mkfs: `${folder}/mkfs.ext4`, fsck: `${folder}/fsck.ext4` }
}

function runs([command = '', ...parameters]: readonly string[]): boolean {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return spawnSync(command, parameters, { stdio: 'ignore', env }).status === 0
}
