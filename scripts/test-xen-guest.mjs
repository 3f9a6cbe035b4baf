// @ts-check
// Lets Linux guests use disks that an emulated dom0 serves. Parameters go to the rig, after these.
import process from 'node:process'

const PARAMETERS = '--boot device-model --disks mixed --guests 8 board disks'
process.argv.splice(2, 0, ...PARAMETERS.split(' '))
await import('./test-xen.mjs')
