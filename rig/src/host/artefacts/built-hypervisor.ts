import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Progress } from '../progress.ts'
import { runTool } from '../tool.ts'
import type { ArtefactCache } from './artefact-cache.ts'
import { type BuildOptions, notBuilt } from './build-options.ts'
import type { DebianSources } from './debian-sources.ts'
import { crossBuildTools, ensureHostTools } from './host-tools.ts'
import type { Hypervisor } from './hypervisor.ts'
import { expectConfigured } from './kconfig.ts'

/**
 * Xen built from Debian's source package with the options of a configuration file beside the default ones.
 *
 * @throws RigUnavailableError when the source or a compiler cannot be had, or it is not to be built and not there
 * @throws RigError when the source does not take an option, or does not compile
 */
export async function builtHypervisor(
  configuration: string,
  cache: ArtefactCache,
  sources: Pick<DebianSources, 'newest'>,
  progress: Progress,
  { mayBuild, signal }: BuildOptions,
): Promise<Hypervisor> {
  const wanted = await readFile(configuration, 'utf8')
  const { version, folder: source } = await sources.newest('xen', '4.17')
  const folder = await cache.artefact(
    'built-xen',
    { source: version, configuration: wanted },
    async (into) => {
      if (!mayBuild) throw notBuilt(`Xen ${version}`)
      await ensureHostTools(crossBuildTools, progress)
      const tree = await cache.workFolder('xen-tree')
      try {
        await progress.step(`building Xen ${version} for arm64, which takes under a minute`, () =>
          buildXen(source, tree, wanted, signal),
        )
        await copyFile(join(tree, 'xen/xen'), join(into, 'xen'))
        await copyFile(join(tree, 'xen/.config'), join(into, 'config'))
      } finally {
        await rm(tree, { recursive: true, force: true })
      }
    },
  )
  return { image: join(folder, 'xen'), description: `Xen ${version} with IOREQ_SERVER` }
}

async function buildXen(
  source: string,
  tree: string,
  wanted: string,
  signal: AbortSignal,
): Promise<void> {
  for (const archive of await readdir(source)) {
    if (!archive.includes('.orig.tar.')) continue
    await runTool('tar', ['-xf', join(source, archive), '--strip-components=1', '-C', tree])
  }
  const cross = ['XEN_TARGET_ARCH=arm64', 'CROSS_COMPILE=aarch64-linux-gnu-']
  const make = (...parameters: readonly string[]): Promise<string> =>
    runTool('nice', ['-n', '19', 'make', '-C', join(tree, 'xen'), ...cross, ...parameters], {
      signal,
    })
  await mkdir(join(tree, 'xen'), { recursive: true })
  await writeFile(join(tree, 'xen/.config'), wanted)
  await make('olddefconfig')
  expectConfigured(wanted, await readFile(join(tree, 'xen/.config'), 'utf8'))
  await make(`-j${availableParallelism()}`)
}
