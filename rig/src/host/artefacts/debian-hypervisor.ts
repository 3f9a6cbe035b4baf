import { join } from 'node:path'
import type { DebianPackages } from './debian-packages.ts'
import type { Hypervisor } from './hypervisor.ts'
import { onlyEntry } from './only-entry.ts'

/**
 * The hypervisor of Debian 12 for arm64.
 *
 * @throws RigUnavailableError when it cannot be had
 */
export async function debianHypervisor(debian: DebianPackages): Promise<Hypervisor> {
  const found = await debian.resolveOne('xen-hypervisor-4.17-arm64')
  const folder = await debian.unpacked('debian-xen', [found], ['./boot/*'])
  return {
    image: await onlyEntry(join(folder, 'boot'), /^xen-[\d.]+-arm64$/),
    description: `Xen ${found.version}`,
  }
}
