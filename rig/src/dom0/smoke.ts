import { deepStrictEqual, rejects, strictEqual } from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { borderFrame, reservedFrames } from '../guest/memory-layout.ts'
import { Guest } from './guest.ts'
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
  {
    id: 'R3',
    title: 'the guest is up and its reserved memory is zeros at first',
    async run() {
      const guest = await Guest.connect()
      const { first, count } = reservedFrames
      strictEqual(count, 368)
      deepStrictEqual(await guest.read(first, 0, 4), new Uint8Array(4))
      deepStrictEqual(await guest.read(borderFrame, 4092, 4), new Uint8Array(4))
    },
  },
  {
    id: 'R4',
    title: 'the guest writes and reads reserved frames and granted pages, and ends grants',
    async run() {
      const guest = await Guest.connect()
      await guest.write(borderFrame, 4093, Uint8Array.of(1, 2, 3))
      deepStrictEqual(await guest.read(borderFrame, 4092, 4), Uint8Array.of(0, 1, 2, 3))
      const grant = await guest.grant(512)
      strictEqual(grant.references.length, 512)
      strictEqual(new Set(grant.references).size, 512)
      await grant.write(511, 1, Uint8Array.of(4, 5))
      deepStrictEqual(await grant.read(511, 0, 4), Uint8Array.of(0, 4, 5, 0))
      await grant.revoke()
      await rejects(grant.read(511, 0, 4), { message: 'the guest: there is no grant 1' })
    },
  },
])
