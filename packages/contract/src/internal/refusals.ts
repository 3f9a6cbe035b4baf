import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { XmcError } from '@xmc/interface'

/** What a refused call threw, or its promise rejected with. */
export async function refusalOf(call: () => unknown): Promise<XmcError> {
  let error: unknown
  try {
    await call()
  } catch (thrown) {
    error = thrown
  }
  assert.ok(error !== undefined, 'the call must be refused, but it succeeded')
  assert.ok(error instanceof XmcError, `the refusal must be an XmcError, not ${inspect(error)}`)
  return error
}

/** Asserts that `call` is refused with `ERR_XMC_SYSTEM_CALL` and one of `errnoNames`. */
export async function assertErrno(
  call: () => unknown,
  ...errnoNames: readonly string[]
): Promise<void> {
  const error = await refusalOf(call)
  assert.equal(error.code, 'ERR_XMC_SYSTEM_CALL', error.message)
  const errnoName: unknown = 'errnoName' in error ? error.errnoName : undefined
  const errno: unknown = 'errno' in error ? error.errno : undefined
  assert.ok(
    typeof errnoName === 'string' && errnoNames.includes(errnoName),
    `the errno must be ${errnoNames.join(' or ')}, not ${inspect(errnoName)}`,
  )
  assert.ok(typeof errno === 'number' && errno > 0, 'the errno must be positive')
}
