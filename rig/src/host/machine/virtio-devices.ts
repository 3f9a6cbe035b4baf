/** How the drivers of a guest's disks can hand memory to them. */
export const diskAddressings = ['grants', 'foreign', 'mixed'] as const

/**
 * How a guest's drivers hand memory to its disks: by grant references, by plain addresses, or by references for the
 * first and by plain addresses for the others.
 */
export type DiskAddressing = (typeof diskAddressings)[number]

/** First address of the transports, bytes of each, and the interrupt of the first, as Xen's public header for Arm has them. */
const base = 0x2000000
const size = 0x200
const firstInterrupt = 33

/** Numbers of interrupts at the controller start at 32 for those that devices share. */
const firstSharedInterrupt = 32

/** `GUEST_PHANDLE_GIC`: what the guest's interrupt controller is called in device trees that Xen takes parts from. */
const controller = 65000

/** What the IOMMU node of grants is called. */
const grantDma = 65001

/**
 * Source of the device tree with the virtio-mmio transports of a guest, for Xen to copy into the guest's own. With
 * grants a transport is behind Linux's `xen,grant-dma`.
 */
export function virtioDevices(count: number, addressing: DiskAddressing): string {
  const iommu =
    addressing === 'foreign'
      ? ''
      : `xen-iommu { compatible = "xen,grant-dma"; #iommu-cells = <1>; phandle = <${grantDma}>; };`
  const transports = Array.from({ length: count }, (_, slot) => {
    const address = (base + slot * size).toString(16)
    const interrupt = firstInterrupt + slot - firstSharedInterrupt
    const granting = addressing === 'grants' || (addressing === 'mixed' && slot === 0)
    const behind = granting ? ` iommus = <${grantDma} 0>;` : ''
    // A shared interrupt, by its number among them, triggered by its rising edge as Xen's toolstack says.
    return (
      `virtio@${address} { compatible = "virtio,mmio"; reg = <0 0x${address} 0 0x${size.toString(16)}>; ` +
      `interrupt-parent = <${controller}>; interrupts = <0 ${interrupt} 0xf01>; dma-coherent;${behind} };`
    )
  })
  return [
    '/dts-v1/;',
    '/ { #address-cells = <2>; #size-cells = <2>;',
    'passthrough { compatible = "simple-bus"; ranges; #address-cells = <2>; #size-cells = <2>;',
    iommu,
    ...transports,
    '}; };',
    '',
  ].join('\n')
}
