import { expect } from 'vitest'

/** Matches an error with this code and these fields. */
export function failure(code: `ERR_XMC_${string}`, fields: object = {}): Error {
  return expect.objectContaining({ code, ...fields })
}
