import { describe, expect, it } from 'vitest'
import { virtioDevices } from '../src/host/machine/virtio-devices.ts'

describe('the transports of a guest', () => {
  it('lie one behind the other, each with an interrupt of its own', () => {
    const source = virtioDevices(2, 'foreign')
    expect(source).toContain(
      'virtio@2000000 { compatible = "virtio,mmio"; reg = <0 0x2000000 0 0x200>;',
    )
    expect(source).toContain(
      'virtio@2000200 { compatible = "virtio,mmio"; reg = <0 0x2000200 0 0x200>;',
    )
    expect(source.match(/interrupts = <0 \d 0xf01>/g)).toEqual([
      'interrupts = <0 1 0xf01>',
      'interrupts = <0 2 0xf01>',
    ])
    expect(source).not.toContain('iommu')
  })

  it('are behind the IOMMU of grants, for the backend in dom0', () => {
    const source = virtioDevices(2, 'grants')
    expect(source.match(/iommus = <65001 0>/g)).toHaveLength(2)
    expect(source).toContain('compatible = "xen,grant-dma"; #iommu-cells = <1>; phandle = <65001>;')
  })

  it('are so for the first alone, where they are mixed', () => {
    const [, first = '', second = ''] = virtioDevices(2, 'mixed').split('virtio@')
    expect(first).toContain('iommus = <65001 0>')
    expect(second).toContain('reg = <0 0x2000200 0 0x200>')
    expect(second).not.toContain('iommus')
  })
})
