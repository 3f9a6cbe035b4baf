import { equal } from 'node:assert/strict'
import { PATIENCE_MILLISECONDS } from '../../time/waiting.ts'
import type { Guest } from '../guest.ts'
import { DIGEST_COMMAND } from './disk-image.ts'

/** Files that dom0 and guests have alike: they boot from the same archive. */
export const TREE = '/xmc/node_modules/@xmc/xen'

/** Time that a command of the guest may take: some copy a tree. */
const LIMIT_MILLISECONDS = 3 * PATIENCE_MILLISECONDS

/** Platform devices of Linux for the transports. */
const TRANSPORTS = ['2000000.virtio', '2000200.virtio']

const DRIVER = '/sys/bus/platform/drivers/virtio-mmio'

/** The disks of a guest of the rig, from the guest's side: its driver, its file systems. */
export class GuestDisks {
  readonly guest: Guest

  constructor(guest: Guest) {
    this.guest = guest
  }

  /** Runs a command of the guest's shell, and returns what it printed. @throws AssertionError when it fails */
  async shell(command: string): Promise<string> {
    const { code, output } = await this.guest.run(command, LIMIT_MILLISECONDS)
    equal(code, 0, `${command}: ${output}`)
    return output.trim()
  }

  /** Lets the driver have both transports, which a board has to serve; anew where it has them. */
  async bind(): Promise<void> {
    await this.shell(
      `if [ -e ${DRIVER} ]; then for t in ${TRANSPORTS.join(' ')}; do ` +
        `if [ -e ${DRIVER}/$t ]; then echo $t > ${DRIVER}/unbind; fi; echo $t > ${DRIVER}/bind; done; ` +
        'else for m in virtio_ring virtio virtio_blk virtio_mmio; do insmod /modules/$m.ko; done; fi',
    )
  }

  /** Takes a transport from the driver, which resets its device. */
  async unbind(slot: number): Promise<void> {
    await this.shell(`echo ${TRANSPORTS[slot]} > ${DRIVER}/unbind`)
  }

  /** The disk in a slot, as `/dev/vda`. */
  async device(slot: number): Promise<string> {
    const place = `/sys/bus/platform/devices/${TRANSPORTS[slot]}/virtio*/block`
    return `/dev/${await this.shell(`ls ${place}`)}`
  }

  /**
   * Mounts the disk in a slot at `/mnt/SLOT`.
   *
   * @param requestKibibytes the most that Linux puts into a request, so that a small file makes many
   */
  async mount(slot: number, requestKibibytes: number = 4): Promise<string> {
    const device = await this.device(slot)
    const queue = `/sys/block/${device.slice('/dev/'.length)}/queue`
    await this.shell(
      `echo ${requestKibibytes} > ${queue}/max_sectors_kb; mkdir -p /mnt/${slot} && ` +
        `mount -t ext4 ${device} /mnt/${slot}`,
    )
    return `/mnt/${slot}`
  }

  /** Unmounts the disk in a slot; what was written is on it then. */
  async unmount(slot: number): Promise<void> {
    await this.shell(`umount /mnt/${slot}`)
  }

  /** The digest of a folder, by reading its files. */
  digestOf(folder: string): Promise<string> {
    return this.shell(`cd ${folder} && ${DIGEST_COMMAND}`)
  }

  /** Copies and deletes a tree on mounted disks, on and on, until {@link stopWriting} or the end of the guest. */
  async startWriting(slots: readonly number[]): Promise<void> {
    for (const slot of slots) {
      const busy = `/mnt/${slot}/busy`
      await this.shell(
        `(while [ ! -e /tmp/stop ]; do cp -r ${TREE} ${busy}; sync; rm -rf ${busy}; done; touch /tmp/stopped-${slot}) ` +
          '</dev/null >/dev/null 2>&1 &',
      )
    }
  }

  /** Ends what {@link startWriting} began; resolves when it has come to the end of a round. */
  async stopWriting(slots: readonly number[]): Promise<void> {
    const stopped = slots.map((slot) => `/tmp/stopped-${slot}`)
    const all = stopped.map((path) => `[ -e ${path} ]`).join(' && ')
    await this.shell(
      `touch /tmp/stop; until ${all}; do sleep 0.1; done; rm /tmp/stop ${stopped.join(' ')}`,
    )
  }

  /** What the guest's kernel has said of grants: that one is still in use, that one is lost. */
  complaints(): Promise<string> {
    return this.shell("dmesg | grep 'g[.]e[.]\\|still in use\\|leaking' || true")
  }
}
