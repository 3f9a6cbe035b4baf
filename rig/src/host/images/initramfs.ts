import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { runTool } from '../tool.ts'

/**
 * Writes the contents of a folder as an archive that Linux unpacks at boot: newc, not compressed (an
 * emulated processor takes longer to unpack than the emulator to load), owned by root, and the same
 * bytes for the same names, contents, modes and times. Several such archives, one after the other in one file, are
 * unpacked over each other.
 */
export async function writeInitramfs(folder: string, archive: string): Promise<void> {
  await runTool(
    'cpio',
    ['--create', '--format=newc', '--owner=0:0', '--reproducible', '--quiet', `--file=${archive}`],
    { folder, input: `${(await listTree(folder)).join('\n')}\n` },
  )
}

/** Everything in a folder, a folder before what is in it. */
async function listTree(folder: string, prefix = ''): Promise<string[]> {
  const entries = await readdir(join(folder, prefix), { withFileTypes: true })
  const found: string[] = []
  for (const entry of entries.toSorted((left, right) => (left.name < right.name ? -1 : 1))) {
    const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`
    found.push(path)
    if (entry.isDirectory()) found.push(...(await listTree(folder, path)))
  }
  return found
}
