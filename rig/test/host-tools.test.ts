import { describe, expect, it } from 'vitest'
import { hostTools, whyNotInstallable } from '../src/host/artefacts/host-tools.ts'

describe('whyNotInstallable', () => {
  const missing = hostTools.filter(({ program }) => program !== 'cpio')

  it('has no reason for root on Debian', () => {
    expect(whyNotInstallable(missing, { apt: true, root: true })).toBeUndefined()
  })

  it('tells another user what to run', () => {
    expect(whyNotInstallable(missing, { apt: true, root: false })).toBe(
      'qemu-system-aarch64, dtc not found, and only root can install it: run "sudo apt-get install ' +
        '--no-install-recommends qemu-system-arm device-tree-compiler", then try again',
    )
  })

  it('says that another distribution needs its own packages', () => {
    expect(whyNotInstallable(missing, { apt: false, root: true })).toBe(
      'qemu-system-aarch64, dtc not found, and there is no apt-get to install it with: the rig runs on ' +
        'Debian 12; elsewhere install the emulator of your distribution, and apt and dpkg to read Debian packages',
    )
  })
})
