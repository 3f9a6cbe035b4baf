import { afterEach, describe, expect, it, vi } from 'vitest'
import { requireSupportedPlatform, UnsupportedPlatformError } from '../src/index.ts'
import { runChild } from './helpers/child.ts'

describe('requireSupportedPlatform', () => {
  it.each([
    ['linux', 'x64'],
    ['linux', 'arm64'],
  ])('accepts %s on %s', (platform, arch) => {
    expect(requireSupportedPlatform(platform, arch)).toBeUndefined()
  })

  it.each([
    ['darwin', 'arm64'],
    ['win32', 'x64'],
    ['freebsd', 'x64'],
    ['linux', 'arm'],
    ['linux', 'ia32'],
    ['linux', 'riscv64'],
  ])('refuses %s on %s and says what is supported', (platform, arch) => {
    expect(() => requireSupportedPlatform(platform, arch)).toThrow(
      expect.objectContaining({
        name: 'UnsupportedPlatformError',
        code: 'ERR_XMC_UNSUPPORTED_PLATFORM',
        platform,
        arch,
        message:
          `host memory is not supported on ${platform}-${arch} with pages of 4096 bytes: ` +
          'run on linux-x64 or linux-arm64 with pages of 4096 bytes',
      }),
    )
  })

  it('refuses a kernel with pages of 64 KiB', () => {
    expect(() => requireSupportedPlatform('linux', 'arm64', 65_536)).toThrow(
      new UnsupportedPlatformError('linux', 'arm64', 65_536),
    )
  })
})

describe('the package on an unsupported platform', () => {
  afterEach(() => {
    vi.unstubAllGlobals()
    vi.resetModules()
  })

  it('can be imported, and refuses when it is first used', async () => {
    vi.stubGlobal('process', { ...process, platform: 'darwin', arch: 'arm64' })
    vi.resetModules()
    const hostmem = await import('../src/index.ts')
    const refusal: unknown = expect.objectContaining({
      code: 'ERR_XMC_UNSUPPORTED_PLATFORM',
      platform: 'darwin',
      arch: 'arm64',
    })
    expect(() => hostmem.openWindow({ pageCount: 1 })).toThrow(refusal)
    expect(() => hostmem.createMemoryFile({ name: 'file', size: 0 })).toThrow(refusal)
    expect(() => hostmem.readAddressSpaceLimits()).toThrow(refusal)
    expect(() => hostmem.raiseAddressSpaceLimit()).toThrow(refusal)
    const plan = hostmem.planAddressSpace({ uid: 0, soft: 0n, hard: 0n, hostBits: 64 })
    expect(plan.maximumBytes).toBe(34_359_738_368)
  })
})

it('koffi is loaded by the first use, not by the import', async () => {
  const child = await runChild(new URL('children/first-use.ts', import.meta.url))
  expect(child).toEqual({ status: 0, stderr: '', output: { afterImport: false, afterUse: true } })
})
