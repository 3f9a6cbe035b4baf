// @ts-check
// Lets Linux guests use disks that an emulated dom0 serves. Parameters go to the rig, after these.
import process from 'node:process'

// With two machines, no more than four cases of one end a guest.
const settings = '--boot device-model --disks mixed --machines 2 --guests 5 board disks'

process.argv.splice(2, 0, ...settings.split(' '))
await import('./test-xen.mjs')
