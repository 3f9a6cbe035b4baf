import { inspect } from 'node:util'
import { XmcError } from '@xmc/interface'
import { describe, expect, test } from 'vitest'
import { BlockRequestError, GuestBufferError, VirtqueueError } from '../src/index.ts'

const BUFFER = { page: 2 ** 51 + 7, offset: 16, length: 512, writable: true }

/** A cause that counts how often its message is asked for. */
function cause() {
  const asked = { times: 0 }
  const text = (): string => {
    asked.times++
    return 'no such grant'
  }
  return { asked, error: new XmcError('ERR_XMC_GRANT_MAP', text) }
}

describe('an error that a driver can cause', () => {
  test.each([
    [
      'GuestBufferError',
      (why: Error) => new GuestBufferError(1, BUFFER, why),
      'queue 1: 512 bytes at 0x8000000000007010 cannot be written (no such grant): the driver has to hand out memory that it keeps until the request is used',
    ],
    [
      'VirtqueueError',
      (why: Error) => new VirtqueueError(1, 'indirect-unmapped', () => why.message, { cause: why }),
      'queue 1: no such grant: the driver has to reset the device',
    ],
    [
      'BlockRequestError',
      (why: Error) => new BlockRequestError('buffer', () => why.message, { cause: why }),
      'block request: no such grant',
    ],
  ] as const)('%s has no frames, and a message when it is asked for', (name, make, message) => {
    const { asked, error: why } = cause()
    const error = make(why)
    expect(asked.times).toBe(0)
    expect(error.stack).toBe(`${name}: ${message}`)
    expect(error.message).toBe(message)
    expect(error).toMatchObject({ name, cause: why })
    expect(inspect(error)).toContain(message)
    expect(inspect(error)).toContain('[cause]: [XmcError: no such grant]')
  })
})
