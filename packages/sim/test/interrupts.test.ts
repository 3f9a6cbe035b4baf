import { setImmediate as turn } from 'node:timers/promises'
import { domainId } from '@xmc/interface'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { InterruptLines } from '../src/interrupts.ts'

const GUEST = domainId(1)
const OTHER = domainId(2)
const NOBODY = domainId(9)

let lines: InterruptLines
let handlerErrors: unknown[]
beforeEach(() => {
  handlerErrors = []
  lines = new InterruptLines(
    { domainExists: (domain) => domain < NOBODY },
    { onHandlerError: (error) => handlerErrors.push(error) },
  )
})

function errno(errnoName: string): unknown {
  return expect.objectContaining({ code: 'ERR_XMC_SYSTEM_CALL', errnoName })
}

describe('interrupt lines', () => {
  test('are low at first and keep the level they are given, for each domain', () => {
    expect(lines.level(GUEST, 33)).toBe(false)
    lines.setLevel(GUEST, 33, true)
    expect(lines.level(GUEST, 33)).toBe(true)
    expect(lines.level(GUEST, 34)).toBe(false)
    expect(lines.level(OTHER, 33)).toBe(false)
    expect([...lines.raisedLines()]).toEqual([{ domain: GUEST, line: 33 }])
    lines.setLevel(GUEST, 33, false)
    expect([...lines.raisedLines()]).toEqual([])
  })

  test('call the handler once for a rise, after the device model has gone on', async () => {
    const handler = vi.fn<() => void>()
    lines.setHandler(GUEST, 33, handler)
    lines.setLevel(GUEST, 33, true)
    lines.setLevel(GUEST, 33, true)
    expect(handler).not.toHaveBeenCalled()
    await turn()
    await turn()
    expect(handler).toHaveBeenCalledTimes(1)
    lines.setLevel(GUEST, 33, true)
    await turn()
    expect(handler).toHaveBeenCalledTimes(1)
    lines.setLevel(GUEST, 33, false)
    lines.setLevel(GUEST, 33, true)
    await turn()
    expect(handler).toHaveBeenCalledTimes(2)
  })

  test('a fall does not take a call back; rises before it are one call', async () => {
    const handler = vi.fn<() => boolean>(() => lines.level(GUEST, 40))
    lines.setHandler(GUEST, 40, () => void handler())
    for (const level of [true, false, true, false]) lines.setLevel(GUEST, 40, level)
    await turn()
    expect(handler.mock.results).toEqual([{ type: 'return', value: false }])
  })

  test('a line that is high already calls a new handler', async () => {
    lines.setLevel(GUEST, 33, true)
    await turn()
    const handler = vi.fn<() => void>()
    lines.setHandler(GUEST, 33, handler)
    await turn()
    expect(handler).toHaveBeenCalledTimes(1)
  })

  test('what a handler throws is reported', async () => {
    const error = new Error('thrown')
    lines.setHandler(GUEST, 33, () => {
      throw error
    })
    lines.setLevel(GUEST, 33, true)
    await turn()
    expect(handlerErrors).toEqual([error])
  })

  test('an unknown domain is ESRCH, a line outside 32 to 1019 is EINVAL', () => {
    expect(() => lines.setLevel(NOBODY, 33, true)).toThrow(errno('ESRCH'))
    expect(() => lines.level(NOBODY, 33)).toThrow(errno('ESRCH'))
    for (const line of [31, 1020, 33.5, -1]) {
      expect(() => lines.setLevel(GUEST, line, true)).toThrow(errno('EINVAL'))
    }
    lines.setLevel(GUEST, 32, true)
    lines.setLevel(GUEST, 1019, true)
  })

  test('a dead domain has no lines and no calls', async () => {
    const handler = vi.fn<() => void>()
    lines.setHandler(GUEST, 33, handler)
    lines.setLevel(GUEST, 33, true)
    lines.removeDomain(GUEST)
    await turn()
    expect(handler).not.toHaveBeenCalled()
    expect([...lines.raisedLines()]).toEqual([])
    expect(lines.level(GUEST, 33)).toBe(false)
  })
})
