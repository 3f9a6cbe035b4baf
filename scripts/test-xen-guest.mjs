// @ts-check
// Lets Linux guests use disks that an emulated dom0 serves. Parameters go to the rig, after these.
import process from 'node:process'

process.argv.splice(
  2,
  0,
  ...['--boot', 'device-model', '--disks', 'mixed', '--machines', '2'],
  // With two machines, no more than four cases of one end a guest.
  ...['--guests', '5', 'board', 'disks'],
)
await import('./test-xen.mjs')
