import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { caseSuite, type Suite } from './suite.ts'

/** The rig itself: what all other suites take for granted. */
export const smoke: Suite = caseSuite('smoke', [
  {
    id: 'R1',
    title: 'this is the control domain of Xen',
    run() {
      strictEqual(readFileSync('/sys/hypervisor/type', 'utf8'), 'xen\n')
      strictEqual(readFileSync('/proc/xen/capabilities', 'utf8'), 'control_d\n')
    },
  },
  {
    id: 'R2',
    title: "Xen's devices are there",
    run() {
      deepStrictEqual(readdirSync('/dev/xen').toSorted(), [
        'evtchn',
        'gntalloc',
        'gntdev',
        'hypercall',
        'privcmd',
        'xenbus',
        'xenbus_backend',
      ])
    },
  },
])
