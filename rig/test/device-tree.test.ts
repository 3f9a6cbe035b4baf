import { expect, it } from 'vitest'
import { bootSource } from '../src/host/machine/device-tree.ts'

it('bootSource tells Xen where dom0 and its guests are', () => {
  const source = bootSource({
    xenArguments: 'console=dtuart dom0_mem=1536M',
    dom0: {
      kernel: { address: 0x4a00_0000, size: 0x1f6_dfc0 },
      initramfs: { address: 0x4c00_0000, size: 0x7d5_0c00 },
      bootArguments: 'console=hvc0 note="a\\b"',
    },
    guests: [
      {
        kernel: { address: 0x5400_0000, size: 0x200_0000 },
        initramfs: { address: 0x1_2000_0000, size: 4096 },
        bootArguments: 'console=ttyAMA0',
        memoryKibibytes: 524_800,
        devices: { address: 0x5a00_0000, size: 300 },
      },
    ],
  })
  expect(source).toBe(String.raw`/ {
  pl061@9030000 {
    status = "disabled";
  };
  chosen {
    /delete-property/ bootargs;
    #address-cells = <2>;
    #size-cells = <2>;
    xen,xen-bootargs = "console=dtuart dom0_mem=1536M";
    xen,dom0-bootargs = "console=hvc0 note=\"a\\b\"";
    module@4a000000 {
      compatible = "multiboot,kernel", "multiboot,module";
      reg = <0x0 0x4a000000 0x0 0x1f6dfc0>;
    };
    module@4c000000 {
      compatible = "multiboot,ramdisk", "multiboot,module";
      reg = <0x0 0x4c000000 0x0 0x7d50c00>;
    };
    domU1 {
      compatible = "xen,domain";
      #address-cells = <2>;
      #size-cells = <2>;
      cpus = <1>;
      memory = <0x0 0x80200>;
      vpl011;
      xen,enhanced = "no-xenstore";
      module@54000000 {
        compatible = "multiboot,kernel", "multiboot,module";
        reg = <0x0 0x54000000 0x0 0x2000000>;
        bootargs = "console=ttyAMA0";
      };
      module@120000000 {
        compatible = "multiboot,ramdisk", "multiboot,module";
        reg = <0x1 0x20000000 0x0 0x1000>;
      };
      module@5a000000 {
        compatible = "multiboot,device-tree", "multiboot,module";
        reg = <0x0 0x5a000000 0x0 0x12c>;
      };
    };
  };
};`)
})
