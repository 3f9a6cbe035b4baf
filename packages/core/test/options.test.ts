import { checkMethods, checkOptions, InvalidArgumentError } from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import { MapCache, PagesMissingError } from '../src/index.ts'

interface Options {
  readonly first: number
  readonly second?: string | undefined
}

const NAMES = { first: true, second: true } as const

/** As a program in plain JavaScript calls it. */
function check(options: unknown): void {
  Reflect.apply(checkOptions<Options>, undefined, ['openThing', options, NAMES])
}

describe('options', () => {
  it('that are known are taken', () => {
    expect(() => check({ first: 1 })).not.toThrow()
    expect(() => check({ first: 1, second: 'two' })).not.toThrow()
    expect(() => check(Object.create({ inherited: 1 }))).not.toThrow()
  })

  it('that are misspelt are refused, by their name and with those that there are', () => {
    expect(() => check({ first: 1, secnod: 'two' })).toThrow(
      expect.objectContaining({
        code: 'ERR_XMC_ARGUMENT',
        field: 'secnod',
        received: 'two',
        message: 'secnod: expected one of the options of openThing (first, second), got "two"',
      }),
    )
    expect(() => check({ First: 2n ** 32n })).toThrow(
      'First: expected one of the options of openThing (first, second), got 4294967296n',
    )
    expect(() => check({ toString: null })).toThrow(/^toString: expected one of the options/)
  })

  it('that are undefined are not there', () => {
    expect(() => check({ first: 1, other: undefined })).not.toThrow()
  })

  it.each([[undefined], [null], ['first'], [4096]])('%j are none', (options) => {
    expect(() => check(options)).toThrow(InvalidArgumentError)
    expect(() => check(options)).toThrow(
      /^options: expected an object with the options of openThing \(first, second\), got /,
    )
  })
})

describe('a collaborator', () => {
  it('that fits its port is taken, whatever else it has', () => {
    class Device {
      handle(): number {
        return 0
      }
    }
    expect(() => checkMethods('device', new Device(), ['handle'])).not.toThrow()
  })

  it.each([
    [undefined, 'undefined'],
    [null, 'null'],
    [{ handle: 1 }, 'Object'],
    [() => 0, '() => 0'],
  ])('that does not fit is refused: %s', (device, shown) => {
    expect(() =>
      Reflect.apply(checkMethods, undefined, ['device', device, ['handle', 'stop']]),
    ).toThrow(
      expect.objectContaining({
        code: 'ERR_XMC_ARGUMENT',
        field: 'device',
        message: `device: expected an object with the methods handle, stop, got ${shown}`,
      }),
    )
  })
})

describe('a cache', () => {
  it.each([
    [{}, 'backend'],
    [{ backend: { kind: 'foreign' } }, 'backend'],
    [{ backned: {} }, 'backned'],
  ])('of %j is refused', (options, field) => {
    expect(() => Reflect.construct(MapCache, [options])).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field }),
    )
  })
})

describe('a page that is not there', () => {
  it.each([
    [0x4000_1010, ' (if 0x40001010 is an address, its page is 0x40001)'],
    [0x1000_0000, ' (if 0x10000000 is an address, its page is 0x10000)'],
    [0x2_0000_0000, ' (if 0x200000000 is an address, its page is 0x200000)'],
    [0xfff_ffff, ''],
    [0x40000, ''],
    [2 ** 51 + 8, ''],
  ])('0x%s may be an address, and then its page is said', (page, hint) => {
    const said = `the guest has no memory there, or is gone${hint}`
    expect(new PagesMissingError('foreign', page, 22).message).toBe(
      `foreign: page 0x${page.toString(16)} cannot be mapped (EINVAL): ${said}`,
    )
  })
})
