/** A file that the emulator has put into memory, and Xen is told of. */
export interface BootModule {
  /** Physical address. */
  readonly address: number
  /** Bytes. */
  readonly size: number
}

/** A guest that Xen starts by itself, together with dom0. */
export interface GuestBoot {
  readonly kernel: BootModule
  readonly initramfs: BootModule
  /** Command line of its kernel. */
  readonly bootArguments: string
  readonly memoryKibibytes: number
  /** A compiled device tree with the devices that it gets beside Xen's own. */
  readonly devices?: BootModule
}

/** What Xen reads from the device tree. */
export interface BootDescription {
  /** Command line of Xen. */
  readonly xenArguments: string
  readonly dom0: {
    readonly kernel: BootModule
    readonly initramfs: BootModule
    /** Command line of dom0's kernel. */
    readonly bootArguments: string
  }
  /** Xen numbers them from 1. */
  readonly guests: readonly GuestBoot[]
}

/**
 * Source to put after the decompiled device tree of the emulated machine, so that Xen finds dom0 and guests. The names
 * are those of Xen's documents on device tree booting and dom0less.
 */
export function bootSource({ xenArguments, dom0, guests }: BootDescription): string {
  return block('/', [
    // Xen leaves the GPIO controller to nobody, and then dom0 trips over the key that is wired to it.
    block('pl061@9030000', ['status = "disabled";']),
    block('chosen', [
      '/delete-property/ bootargs;',
      '#address-cells = <2>;',
      '#size-cells = <2>;',
      `xen,xen-bootargs = ${text(xenArguments)};`,
      `xen,dom0-bootargs = ${text(dom0.bootArguments)};`,
      bootModule('kernel', dom0.kernel),
      bootModule('ramdisk', dom0.initramfs),
      ...guests.map((guest, index) => guestNode(`domU${index + 1}`, guest)),
    ]),
  ])
}

function guestNode(name: string, guest: GuestBoot): string {
  return block(name, [
    'compatible = "xen,domain";',
    '#address-cells = <2>;',
    '#size-cells = <2>;',
    'cpus = <1>;',
    `memory = <${cells(guest.memoryKibibytes)}>;`,
    'vpl011;',
    // Without it the guest is not told that it runs on Xen, and has no grants and event channels.
    'xen,enhanced = "no-xenstore";',
    bootModule('kernel', guest.kernel, [`bootargs = ${text(guest.bootArguments)};`]),
    bootModule('ramdisk', guest.initramfs),
    ...(guest.devices ? [bootModule('device-tree', guest.devices)] : []),
  ])
}

function bootModule(
  kind: 'kernel' | 'ramdisk' | 'device-tree',
  { address, size }: BootModule,
  more: readonly string[] = [],
): string {
  return block(`module@${address.toString(16)}`, [
    `compatible = "multiboot,${kind}", "multiboot,module";`,
    `reg = <${cells(address)} ${cells(size)}>;`,
    ...more,
  ])
}

function block(name: string, lines: readonly string[]): string {
  const inner = lines.flatMap((line) => line.split('\n')).map((line) => `  ${line}`)
  return [`${name} {`, ...inner, '};'].join('\n')
}

/** A 64-bit number as two cells. */
function cells(value: number): string {
  return `0x${Math.floor(value / 2 ** 32).toString(16)} 0x${(value % 2 ** 32).toString(16)}`
}

function text(value: string): string {
  return `"${value.replaceAll('\\', String.raw`\\`).replaceAll('"', String.raw`\"`)}"`
}
