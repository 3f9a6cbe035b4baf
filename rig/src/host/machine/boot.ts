import { fileURLToPath } from 'node:url'
import type { ArtefactCache } from '../artefacts/artefact-cache.ts'
import type { BuildOptions } from '../artefacts/build-options.ts'
import { builtHypervisor } from '../artefacts/built-hypervisor.ts'
import { builtKernel } from '../artefacts/built-kernel.ts'
import { debianHypervisor } from '../artefacts/debian-hypervisor.ts'
import { debianKernel } from '../artefacts/debian-kernel.ts'
import type { DebianPackages } from '../artefacts/debian-packages.ts'
import { DebianSources } from '../artefacts/debian-sources.ts'
import type { Hypervisor } from '../artefacts/hypervisor.ts'
import type { Kernel } from '../artefacts/kernel.ts'
import type { Progress } from '../progress.ts'

/** Every hypervisor and kernel that the rig knows to put together. */
export const bootNames = ['debian', 'device-model'] as const

/** Name of a boot. */
export type BootName = (typeof bootNames)[number]

/** What boots. */
export interface Boot {
  readonly hypervisor: Hypervisor
  readonly kernel: Kernel
}

/**
 * Fetches or builds what boots, or takes it from the cache:
 *
 * - `debian`: Xen and Linux as Debian has them: no compiler, no device models;
 * - `device-model`: Xen with ioreq servers and a small Linux with grants for virtio, built from Debian's sources.
 */
export async function prepareBoot(
  name: BootName,
  cache: ArtefactCache,
  debian: DebianPackages,
  progress: Progress,
  building: BuildOptions,
): Promise<Boot> {
  switch (name) {
    case 'debian':
      return { hypervisor: await debianHypervisor(debian), kernel: await debianKernel(debian) }
    case 'device-model': {
      const sources = new DebianSources(cache, progress)
      return {
        hypervisor: await builtHypervisor(config('xen'), cache, sources, progress, building),
        kernel: await builtKernel(config('linux'), cache, debian, progress, building),
      }
    }
  }
}

function config(name: string): string {
  return fileURLToPath(new URL(`../../../config/${name}.config`, import.meta.url))
}
