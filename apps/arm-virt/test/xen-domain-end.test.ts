import { describe, expect, it } from 'vitest'
import { endOf } from '../src/providers/xen-domain-end.ts'

const RUNNING = {
  domain: 1,
  dying: false,
  shutdownCode: undefined,
  paused: false,
  pages: 1,
  maximumPages: 1,
  virtualCpus: 1,
}

describe('the end of a domain of Xen', () => {
  it.each([
    ['runs', RUNNING, undefined],
    ['is paused', { ...RUNNING, paused: true }, undefined],
    ['was powered off', { ...RUNNING, shutdownCode: 0 }, 'shutdown'],
    ['reboots', { ...RUNNING, shutdownCode: 1 }, 'shutdown'],
    ['was suspended', { ...RUNNING, shutdownCode: 2 }, 'shutdown'],
    ['crashed', { ...RUNNING, shutdownCode: 3 }, 'crashed'],
    ['was ended by a watchdog', { ...RUNNING, shutdownCode: 4 }, 'crashed'],
    ['crashed and is destroyed', { ...RUNNING, shutdownCode: 3, dying: true }, 'crashed'],
    ['is destroyed', { ...RUNNING, dying: true }, 'destroyed'],
    ['is not there', undefined, 'destroyed'],
  ] as const)('that %s', (_, information, end) => {
    expect(endOf(information)).toBe(end)
  })
})
