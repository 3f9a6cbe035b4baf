import { describe, expect, it } from 'vitest'
import { isGranted, isGuestRequest } from '../src/guest/requests.ts'

describe('isGuestRequest', () => {
  it.each([
    { do: 'grant', count: 1, writable: false, to: 0 },
    { do: 'read-frame', frame: 1, offset: 0, length: 4 },
    { do: 'write-granted', grant: 1, page: 0, offset: 0, bytes: '00ff' },
    { do: 'power-off' },
  ])('accepts $do', (request) => {
    expect(isGuestRequest(request)).toBe(true)
  })

  it.each([
    null,
    'grant',
    {},
    { do: 'grant', count: 1 },
    { do: 'toString' },
    { do: 'revoke', grant: '1' },
  ])('refuses %j', (request) => {
    expect(isGuestRequest(request)).toBe(false)
  })
})

describe('isGranted', () => {
  it('needs a number and references', () => {
    expect(isGranted({ grant: 1, references: [8, 9] })).toBe(true)
    expect(isGranted({ grant: 1, references: ['8'] })).toBe(false)
    expect(isGranted({ references: [] })).toBe(false)
  })
})
