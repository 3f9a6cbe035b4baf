import { join } from 'node:path'
import type { DebianPackages } from './debian-packages.ts'
import type { Kernel } from './kernel.ts'
import { onlyEntry } from './only-entry.ts'

/** Modules that make Xen's device nodes. */
const modules = ['xen-evtchn', 'xen-gntdev', 'xen-gntalloc', 'xen-privcmd', 'xenfs/xenfs']

/**
 * Debian's kernel for arm64.
 *
 * @throws RigUnavailableError when it cannot be had
 */
export async function debianKernel(debian: DebianPackages): Promise<Kernel> {
  const found = await debian.resolveMeta('linux-image-arm64')
  const drivers = 'kernel/drivers/xen'
  const folder = await debian.unpacked(
    'debian-linux',
    [found],
    ['./boot/vmlinuz-*', `./lib/modules/*/${drivers}/*`],
  )
  const release = await onlyEntry(join(folder, 'lib/modules'), /./)
  return {
    image: await onlyEntry(join(folder, 'boot'), /^vmlinuz-/),
    modules: modules.map((module) => join(release, drivers, `${module}.ko`)),
    description: `${found.name} ${found.version}`,
  }
}
