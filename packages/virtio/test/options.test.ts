import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { BlockDriver, DriverTransport, EntropyDriver, FrameAllocator } from '../src/driver.ts'
import {
  BlockDevice,
  ConsoleDevice,
  EntropyDevice,
  FileDisk,
  MemoryDisk,
  MmioTransport,
} from '../src/index.ts'

// Programs in plain JavaScript have no compiler that finds these.

/** What a constructor makes of options that are not sound. */
function constructing(
  kind: new (...parameters: never[]) => object,
  ...parameters: readonly unknown[]
): () => unknown {
  return () => Reflect.construct(kind, parameters)
}

const refused = (field: string, message?: string) =>
  expect.objectContaining({
    code: 'ERR_XMC_ARGUMENT',
    field,
    ...(message === undefined ? {} : { message }),
  })

const memory = { map: () => {}, mapAsync: () => {} }
const interrupt = { setLevel: () => {} }
const whole = { device: new EntropyDevice(), memory, interrupt }

describe('a transport', () => {
  it.each([
    ['device', undefined],
    ['device', null],
    ['device', {}],
    ['device', { ...deviceOf(), handle: undefined }],
    ['device.deviceId', { ...deviceOf(), deviceId: undefined }],
    ['device.features', { ...deviceOf(), features: 0 }],
    ['device.configuration', { ...deviceOf(), configuration: undefined }],
    ['device.queues', { ...deviceOf(), queues: undefined }],
    ['device.queues', { ...deviceOf(), queues: [{ sise: 16 }] }],
  ])('refuses a device that has no %s', (field, device) => {
    expect(constructing(MmioTransport, { ...whole, device })).toThrow(refused(field))
  })

  it('says what a device needs', () => {
    const device = { ...deviceOf(), handle: undefined, hanlde: () => 0 }
    expect(constructing(MmioTransport, { ...whole, device })).toThrow(
      refused('device', 'device: expected an object with the method handle, got Object'),
    )
  })

  it.each([
    ['memory', { memory: undefined }],
    ['memory', { memory: { map: () => {} } }],
    ['interrupt', { interrupt: undefined }],
    ['interrupt', { interrupt: () => {} }],
    ['acessPlatform', { acessPlatform: 'required' }],
  ])('refuses %s where it does not fit', (field, options) => {
    expect(constructing(MmioTransport, { ...whole, ...options })).toThrow(refused(field))
  })

  it('takes what is sound', () => {
    expect(constructing(MmioTransport, { ...whole, onFault: undefined })).not.toThrow()
  })
})

/** A device in plain JavaScript. */
function deviceOf(): object {
  return {
    deviceId: 0x3f,
    features: 0n,
    queues: [{ size: 16 }],
    configuration: new Uint8Array(),
    handle: () => 0,
  }
}

describe('devices and disks', () => {
  const output = new PassThrough()
  it.each([
    ['disk', BlockDevice, [{}]],
    ['disk', BlockDevice, [{ disk: 'disk.img' }]],
    ['queuesize', BlockDevice, [{ disk: new MemoryDisk(512), queuesize: 16 }]],
    ['options', ConsoleDevice, []],
    ['output', ConsoleDevice, [{}]],
    ['colums', ConsoleDevice, [{ output, colums: 80 }]],
    ['readonly', MemoryDisk, [512, { readonly: true }]],
  ])('refuse %s', (field, kind, parameters) => {
    expect(constructing(kind, ...parameters)).toThrow(refused(field))
  })

  it('refuse a misspelt option of a file, before it is opened', async () => {
    // @ts-expect-error there is no such option
    await expect(FileDisk.open('/nowhere', { readonly: true })).rejects.toEqual(refused('readonly'))
  })
})

describe('drivers', () => {
  const guest = {
    bus: { read: () => {}, write: () => {} },
    address: 0x200_0000,
    interrupt: { subscribe: () => {} },
    pages: { allocate: () => {}, free: () => {}, bytes: () => {} },
    dma: { map: () => {}, unmap: () => {} },
  }

  it.each([
    ['block', BlockDriver],
    ['entropy', EntropyDriver],
    ['transport', DriverTransport],
  ])('refuse what does not fit: %s', (_, kind) => {
    expect(constructing(kind, guest)).not.toThrow()
    for (const field of ['bus', 'interrupt', 'pages', 'dma']) {
      expect(constructing(kind, { ...guest, [field]: {} })).toThrow(refused(field))
    }
    expect(constructing(kind, { ...guest, timeoutMiliseconds: 1 })).toThrow(
      refused('timeoutMiliseconds'),
    )
  })

  it('refuse a misspelt option of guest memory', () => {
    const pages = { first: 0, count: 1, view: () => new Uint8Array(4096) }
    expect(constructing(FrameAllocator, { ...pages, size: 1 })).toThrow(refused('size'))
  })
})
