import { describe, expect, it } from 'vitest'
import { parseInstallPlan, parseOnlyDependency } from '../src/host/artefacts/debian-packages.ts'

describe('parseInstallPlan', () => {
  it('takes names and versions from what apt would install', () => {
    const plan = [
      'Reading package lists...',
      'The following NEW packages will be installed:',
      '  gcc-12-base libgcc-s1',
      'Inst libgcc-s1 (12.2.0-14+deb12u1 Debian:12.15/oldstable [arm64]) []',
      'Inst busybox-static (1:1.35.0-4+b1 Debian:12.15/oldstable [arm64])',
      'Conf libgcc-s1 (12.2.0-14+deb12u1 Debian:12.15/oldstable [arm64])',
    ].join('\n')
    expect(parseInstallPlan(plan)).toEqual([
      { name: 'busybox-static', version: '1:1.35.0-4+b1' },
      { name: 'libgcc-s1', version: '12.2.0-14+deb12u1' },
    ])
  })
})

describe('parseOnlyDependency', () => {
  it('finds the package behind a meta package', () => {
    const record = [
      'Package: linux-image-arm64',
      'Version: 6.1.192-2',
      'Depends: linux-image-6.1.0-56-arm64 (= 6.1.192-2)',
      'Description: Linux for 64-bit ARMv8 machines (meta-package)',
    ].join('\n')
    expect(parseOnlyDependency(record)).toEqual({
      name: 'linux-image-6.1.0-56-arm64',
      version: '6.1.192-2',
    })
  })

  it.each(['Depends: a (= 1), b (= 2)', 'Depends: a | b', 'Depends: a (>= 1)', 'Package: a'])(
    'refuses %s',
    (record) => {
      expect(() => parseOnlyDependency(record)).toThrow('one package at a version was expected')
    },
  )
})
