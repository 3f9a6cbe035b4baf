import { expect, it } from 'vitest'
import { Hypervisor } from '../src/index.ts'

// Programs in plain JavaScript have no compiler that finds these.
it.each<[field: string, call: (xen: Hypervisor, options: never) => unknown, options?: object]>([
  ['sede', (_, options) => new Hypervisor(options), { sede: 7 }],
  ['attemps', (_, options) => new Hypervisor(options), { pagingRetry: { attemps: 1 } }],
  ['options', (xen, options) => xen.createDomain(options)],
  ['memorybytes', (xen, options) => xen.createDomain(options), { memorybytes: 4096 }],
  ['nmae', (xen, options) => xen.foreignMemory(0, options), { nmae: 'x' }],
  ['nmae', (xen, options) => xen.grantTable(0, options), { nmae: 'x' }],
  ['pages', (xen, options) => xen.sharePages(options), { to: 0, pages: 1 }],
  ['sight', (xen, options) => xen.faults.fail(options), { sight: 'foreign.map' }],
  ['propability', (xen, options) => xen.faults.random(options), { propability: 1 }],
])('a misspelt or missing option is refused: %s', (field, call, options) => {
  using xen = new Hypervisor()
  expect(() => Reflect.apply(call, undefined, [xen, options])).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
  )
})

it('a grant that was to be read-only is not writable for a slip of the pen', () => {
  using xen = new Hypervisor()
  const { grants } = xen.createDomain({ memoryBytes: 2 ** 20 })
  const taken = grants.takenCount
  // @ts-expect-error the option is called readonly
  expect(() => grants.share([0x40000], { to: 0, readOnly: true })).toThrow(
    expect.objectContaining({
      code: 'ERR_XMC_ARGUMENT',
      message: 'readOnly: expected one of the options of share (to, readonly), got true',
    }),
  )
  expect(grants.takenCount).toBe(taken)
  // @ts-expect-error the option is called readonly
  expect(() => grants.allow(9, { to: 0, readOnly: true, frame: 0x40000 })).toThrow(/^readOnly: /)
})
