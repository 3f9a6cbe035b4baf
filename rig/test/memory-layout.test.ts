import { expect, it } from 'vitest'
import { borderFrame, mailboxFrames, reservedFrames } from '../src/guest/memory-layout.ts'

it('the guest has 1.5 MiB that its Linux does not know, and its RAM ends in the middle of a bucket', () => {
  expect(mailboxFrames).toEqual({ first: 0x5ff00, count: 16 })
  expect(reservedFrames).toEqual({ first: 0x5ff10, count: 368 })
  expect(borderFrame).toBe(0x6007f)
})
