import { copyFile, cp, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { RigError } from '../errors.ts'
import type { Progress } from '../progress.ts'
import { runTool } from '../tool.ts'
import type { ArtefactCache } from './artefact-cache.ts'
import { type BuildOptions, notBuilt } from './build-options.ts'
import type { DebianPackages } from './debian-packages.ts'
import { crossBuildTools, ensureHostTools } from './host-tools.ts'
import { expectConfigured } from './kconfig.ts'
import type { Kernel } from './kernel.ts'

/** Modules of the build, below its tree, in an order in which they can be loaded. */
const modules = [
  'drivers/virtio/virtio.ko',
  'drivers/virtio/virtio_ring.ko',
  'drivers/virtio/virtio_mmio.ko',
  'drivers/block/virtio_blk.ko',
]

/**
 * Linux 6.12 frees what it knows of a device behind `xen,grant-dma` with the device's driver, and uses it when a driver is
 * bound again: now and then the device counts as broken from then on, and the driver's requests wait for ever. With memory that is not
 * the driver's, a driver can be bound again.
 */
const corrections: readonly Correction[] = [
  {
    file: 'drivers/xen/grant-dma-ops.c',
    from: 'devm_kzalloc(dev, ',
    to: 'kzalloc(',
  },
  {
    file: 'drivers/xen/grant-dma-ops.c',
    from: 'devm_kfree(dev, ',
    to: 'kfree(',
  },
]

/** A piece of text that stands once in a file of the source, and what is to be there. */
interface Correction {
  readonly file: string
  readonly from: string
  readonly to: string
}

/**
 * Linux built from Debian's source with the options of a configuration file, all others off.
 *
 * @param configuration file with the options
 * @throws RigUnavailableError when the source or a compiler cannot be had, or it is not to be built and not there
 * @throws RigError when the source does not take an option, or does not compile
 */
export async function builtKernel(
  configuration: string,
  cache: ArtefactCache,
  debian: Pick<DebianPackages, 'resolveOne' | 'unpacked'>,
  progress: Progress,
  { mayBuild, signal }: BuildOptions,
): Promise<Kernel> {
  const wanted = await readFile(configuration, 'utf8')
  const source = await debian.resolveOne('linux-source-6.12')
  const ingredients = {
    source: source.version,
    configuration: wanted,
    modules,
    corrections: corrections.map(({ file, from, to }) => `${file}: ${from} -> ${to}`),
  }
  const folder = await cache.artefact('built-linux', ingredients, async (into) => {
    if (!mayBuild) throw notBuilt(`Linux ${source.version}`)
    await ensureHostTools(crossBuildTools, progress)
    const unpacked = await debian.unpacked('debian-linux-source', [source], ['./usr/src/*.tar.xz'])
    const tree = await cache.workFolder('linux-tree')
    try {
      await progress.step('unpacking the source of Linux', () =>
        runTool('tar', ['-xf', join(unpacked, 'usr/src/linux-source-6.12.tar.xz'), '-C', tree], {
          signal,
        }),
      )
      const root = join(tree, 'linux-source-6.12')
      for (const correction of corrections) await correct(root, correction)
      await progress.step(
        `building Linux ${source.version} for arm64, which takes 4 to 9 minutes on 2 processors`,
        () => buildLinux(root, configuration, wanted, signal),
      )
      await copyFile(join(root, 'arch/arm64/boot/Image'), join(into, 'Image'))
      for (const module of modules) {
        await cp(join(root, module), join(into, module.replace(/.*\//, '')))
      }
      await copyFile(join(root, '.config'), join(into, 'config'))
    } finally {
      await rm(tree, { recursive: true, force: true })
    }
  })
  return {
    image: join(folder, 'Image'),
    modules: modules.map((module) => join(folder, module.replace(/.*\//, ''))),
    description: `Linux ${source.version} with XEN_VIRTIO`,
  }
}

/** @throws RigError when the source does not have the text, or has it more than once */
async function correct(root: string, { file, from, to }: Correction): Promise<void> {
  const path = join(root, file)
  const parts = (await readFile(path, 'utf8')).split(from)
  if (parts.length !== 2) {
    throw new RigError(`${file} of Linux has "${from}" ${parts.length - 1} times instead of once`)
  }
  await writeFile(path, parts.join(to))
}

async function buildLinux(
  root: string,
  configuration: string,
  wanted: string,
  signal: AbortSignal,
): Promise<void> {
  const make = (...parameters: readonly string[]): Promise<string> =>
    runTool(
      'nice',
      [
        '-n',
        '19',
        'make',
        '-C',
        root,
        'ARCH=arm64',
        'CROSS_COMPILE=aarch64-linux-gnu-',
        ...parameters,
      ],
      { signal },
    )
  await make(`KCONFIG_ALLCONFIG=${configuration}`, 'allnoconfig')
  expectConfigured(wanted, await readFile(join(root, '.config'), 'utf8'))
  const output = await make(`-j${availableParallelism()}`, 'Image', 'modules')
  await writeFile(join(root, 'build.log'), output)
}
