import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { ArtefactCache } from '../src/host/artefacts/artefact-cache.ts'
import { builtHypervisor } from '../src/host/artefacts/built-hypervisor.ts'
import { builtKernel } from '../src/host/artefacts/built-kernel.ts'
import { Progress } from '../src/host/progress.ts'
import { temporaryFolder } from './helpers/temporary-folder.ts'

let folder = ''
let configuration = ''

beforeEach(() => {
  folder = temporaryFolder()
  configuration = join(folder, 'some.config')
  writeFileSync(configuration, 'CONFIG_XEN=y\n')
})

const progress = new Progress(() => {})
const building = { mayBuild: false, signal: new AbortController().signal }

describe('what is not in the cache and may not be built', () => {
  it('is refused: the hypervisor', async () => {
    const sources = { newest: () => Promise.resolve({ version: '4.17.5-1', folder }) }
    const cache = new ArtefactCache(join(folder, 'cache'))
    await expect(
      builtHypervisor(configuration, cache, sources, progress, building),
    ).rejects.toMatchObject({
      code: 'ERR_XMC_RIG_UNAVAILABLE',
      message: 'Xen 4.17.5-1 is not built yet, and --no-build forbids it: run it once without',
    })
  })

  it('is refused: the kernel', async () => {
    const debian = {
      resolveOne: () => Promise.resolve({ name: 'linux-source-6.12', version: '6.12.9-1' }),
      unpacked: () => Promise.reject(new Error('nothing is to be fetched')),
    }
    const cache = new ArtefactCache(join(folder, 'cache'))
    await expect(
      builtKernel(configuration, cache, debian, progress, building),
    ).rejects.toMatchObject({
      code: 'ERR_XMC_RIG_UNAVAILABLE',
      message: 'Linux 6.12.9-1 is not built yet, and --no-build forbids it: run it once without',
    })
  })
})
