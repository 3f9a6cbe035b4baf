import { describe, expect, it } from 'vitest'
import { expectConfigured, parseConfiguration } from '../src/host/artefacts/kconfig.ts'

describe('parseConfiguration', () => {
  it('reads what is set, and leaves comments out', () => {
    const text = '# CONFIG_SMP is not set\nCONFIG_XEN=y\nCONFIG_VIRTIO_MMIO=m\nCONFIG_HZ=250\n'
    expect([...parseConfiguration(text)]).toEqual([
      ['CONFIG_XEN', 'y'],
      ['CONFIG_VIRTIO_MMIO', 'm'],
      ['CONFIG_HZ', '250'],
    ])
  })
})

describe('expectConfigured', () => {
  it('takes a configuration that has all that was asked for', () => {
    const check = (): void => expectConfigured('CONFIG_XEN=y\n', 'CONFIG_HZ=250\nCONFIG_XEN=y\n')
    expect(check).not.toThrow()
  })

  it('names what was dropped, and what it is instead', () => {
    expect(() => expectConfigured('CONFIG_XEN=y\nCONFIG_A=m\n', 'CONFIG_A=y\n')).toThrow(
      'the configuration does not take CONFIG_XEN=y (is not set), CONFIG_A=m (is y)',
    )
  })
})
