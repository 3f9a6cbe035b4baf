import { EntropyDevice, TurnBudget } from '@xmc/virtio'
import { describe, expect, it } from 'vitest'
import {
  boardConfiguration,
  boardPart,
  copy,
  DiskMachine,
  type MachineOptions,
  machineConfiguration,
  SimulatedHypervisor,
  selfTest,
  serveDomain,
  XenHypervisor,
} from '../src/index.ts'

const entropyDevices = (count: number): EntropyDevice[] =>
  Array.from({ length: count }, () => new EntropyDevice())

describe('a machine configuration', () => {
  it('has a default for everything', () => {
    expect(machineConfiguration({})).toEqual({
      hypervisor: 'simulator',
      memoryBytes: 512 * 2 ** 20,
      virtualCpus: 1,
      devices: [],
      addressing: 'grants',
      grantFrames: 64,
      mapping: 'synchronous',
      foreignWindowBytes: 4 * 2 ** 30,
      foreignBudgetBytes: 2 ** 30,
      grantWindowBytes: 256 * 2 ** 20,
      guaranteedShare: 0.5,
      turnBudget: expect.any(TurnBudget),
      onFault: undefined,
    })
  })

  it('takes up to 11 devices', () => {
    expect(boardConfiguration({ devices: entropyDevices(11) }).devices).toHaveLength(11)
    expect(() => boardConfiguration({ devices: entropyDevices(12) })).toThrow(
      expect.objectContaining({
        code: 'ERR_XMC_TOO_MANY_DEVICES',
        count: 12,
        maximum: 11,
        message:
          '12 devices do not fit the board: it has 11 virtio-mmio transports: leave some out',
      }),
    )
  })

  it('refuses one device at two slots', () => {
    const device = new EntropyDevice()
    expect(() => boardConfiguration({ devices: [device, device] })).toThrow(/devices: .*slot 1/)
  })

  it('refuses more RAM than the map has room for', () => {
    expect(() => machineConfiguration({ memoryBytes: 2 ** 40 })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_RAM_SIZE' }),
    )
  })

  const wrong: readonly (readonly [keyof MachineOptions, MachineOptions])[] = [
    ['memoryBytes', { memoryBytes: 1000 }],
    ['virtualCpus', { virtualCpus: 0 }],
    ['virtualCpus', { virtualCpus: 129 }],
    ['grantFrames', { grantFrames: 0 }],
    ['grantFrames', { grantFrames: 2 ** 23 + 1 }],
    ['foreignWindowBytes', { foreignWindowBytes: -1 }],
    ['foreignBudgetBytes', { foreignBudgetBytes: 1.5 }],
    ['grantWindowBytes', { grantWindowBytes: Number.NaN }],
    ['guaranteedShare', { guaranteedShare: 1.01 }],
  ]
  it.each(wrong)('refuses a wrong %s', (field, options) => {
    expect(() => machineConfiguration(options)).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
    )
  })

  // As a program in plain JavaScript may call them; some of them answer later.
  it.each<[field: string, call: (options: never) => unknown, options: object]>([
    ['devises', (options) => boardConfiguration(options), { devises: [] }],
    ['memoryBytes', (options) => boardConfiguration(options), { memoryBytes: 2 ** 26 }],
    ['vcpus', (options) => machineConfiguration(options), { vcpus: 2 }],
    ['memorybytes', (options) => DiskMachine.open(options), { disks: [], memorybytes: 2 ** 26 }],
    ['disk', (options) => selfTest(options), { disk: 'a' }],
    ['inflight', (options) => selfTest(options), { inflight: 4 }],
    ['readonly', (options) => copy(options), { source: 'a', target: 'b', readonly: true }],
    ['disk', (options) => serveDomain(options), { domain: 1, disk: 'a' }],
    ['vcpus', (options) => SimulatedHypervisor.create(options), { vcpus: 2 }],
    ['onerror', (options) => XenHypervisor.attach(1, options), { onerror: () => {} }],
  ])('refuses the option %s where there is none', async (field, call, options) => {
    const calling = async (): Promise<unknown> => await Reflect.apply(call, undefined, [options])
    await expect(calling()).rejects.toEqual(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
    )
  })

  it("gives its board what is the board's", () => {
    const whole = machineConfiguration({ memoryBytes: 2 ** 26, addressing: 'foreign' })
    const { hypervisor, memoryBytes, virtualCpus, ...board } = whole
    expect({ hypervisor, memoryBytes, virtualCpus }).toEqual({
      hypervisor: 'simulator',
      memoryBytes: 2 ** 26,
      virtualCpus: 1,
    })
    expect(boardPart(whole)).toEqual(board)
    expect(boardConfiguration(boardPart(whole))).toEqual(board)
  })

  it.each([
    ['addressing', { addressing: 'bounce' }],
    ['mapping', { mapping: 'later' }],
    ['hypervisor', { hypervisor: 'kvm' }],
  ])('refuses an unknown %s, as a program in JavaScript may give one', (field, options) => {
    expect(() => Reflect.apply(machineConfiguration, undefined, [options])).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
    )
  })
})
