import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { expectConfigured, parseConfiguration } from '../src/host/artefacts/kconfig.ts'

describe('parseConfiguration', () => {
  it('takes what is set, and no comment', () => {
    const text = '# CONFIG_PCI is not set\nCONFIG_XEN=y\nCONFIG_NR_CPUS=8\n\nCONFIG_CMDLINE=""\n'
    expect([...parseConfiguration(text)]).toEqual([
      ['CONFIG_XEN', 'y'],
      ['CONFIG_NR_CPUS', '8'],
      ['CONFIG_CMDLINE', '""'],
    ])
  })

  it.each([
    ['linux', 'CONFIG_XEN_VIRTIO'],
    ['xen', 'CONFIG_IOREQ_SERVER'],
  ])('reads the configuration of %s, which asks for %s', (name, option) => {
    const file = new URL(`../config/${name}.config`, import.meta.url)
    expect(parseConfiguration(readFileSync(file, 'utf8')).get(option)).toBe('y')
  })
})

describe('expectConfigured', () => {
  it('accepts a configuration that has more', () => {
    expect(() => expectConfigured('CONFIG_XEN=y', 'CONFIG_PCI=y\nCONFIG_XEN=y')).not.toThrow()
  })

  it('names every option that was dropped or changed', () => {
    expect(() =>
      expectConfigured(
        'CONFIG_XEN=y\nCONFIG_VIRTIO_BLK=y\nCONFIG_ZONE_DEVICE=y',
        'CONFIG_XEN=y\nCONFIG_VIRTIO_BLK=m\n# CONFIG_ZONE_DEVICE is not set',
      ),
    ).toThrow(
      'the configuration does not take CONFIG_VIRTIO_BLK=y (is m), CONFIG_ZONE_DEVICE=y (is not set)',
    )
  })
})
