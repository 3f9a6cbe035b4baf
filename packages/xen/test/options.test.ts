import { expect, it } from 'vitest'
import { Hypervisor } from '../src/index.ts'

// Programs in plain JavaScript have no compiler that finds these.
it.each<[field: string, call: (xen: Hypervisor, options: never) => unknown, options: object]>([
  ['domian', (_, options) => new Hypervisor(options), { domian: 1 }],
  ['attemps', (_, options) => new Hypervisor(options), { pagingRetry: { attemps: 1 } }],
  ['nmae', (xen, options) => xen.foreignMemory(0, options), { nmae: 'x' }],
  ['nmae', (xen, options) => xen.grantTable(0, options), { nmae: 'x' }],
  ['readOnly', (xen, options) => xen.sharePages(options), { to: 0, readOnly: true }],
])('a misspelt option is refused before anything is opened: %s', (field, call, options) => {
  using xen = new Hypervisor()
  expect(() => Reflect.apply(call, undefined, [xen, options])).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
  )
})
