// @ts-check
// Runs the suites of the real providers in an emulated dom0.
import { report } from './lib/report.mjs'
import { checkWithRig } from './lib/rig-check.mjs'

await report('xen', () => checkWithRig('xen', 'test-xen.mjs'))
