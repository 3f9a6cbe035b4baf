import { constants } from 'node:os'
import { inspect } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import {
  BusyError,
  ClosedError,
  errnoOf,
  InvalidArgumentError,
  messageOf,
  nameOfErrno,
  ReadOnlyError,
  RefusedError,
  ReleasedError,
  SystemCallError,
  XmcError,
} from '../src/errors.ts'

describe('XmcError', () => {
  it('carries code, message, name and cause', () => {
    const cause = new Error('why')
    const error = new XmcError('ERR_XMC_TEST', 'what', { cause })
    expect(error).toMatchObject({ code: 'ERR_XMC_TEST', message: 'what', name: 'XmcError', cause })
    expect(error).toBeInstanceOf(Error)
    expect(error.stack).toContain('errors.test.ts')
  })

  it('is recognised by instanceof across two copies of the package', async () => {
    vi.resetModules()
    const copy = await import('../src/errors.ts')
    expect(copy.XmcError).not.toBe(XmcError)
    expect(new copy.RefusedError('no')).toBeInstanceOf(XmcError)
    expect(new RefusedError('no')).toBeInstanceOf(copy.XmcError)
  })

  it('keeps instanceof exact for its subclasses, and false for anything else', async () => {
    expect(new RefusedError('no')).not.toBeInstanceOf(ClosedError)
    expect(new XmcError('ERR_XMC_TEST', '')).not.toBeInstanceOf(RefusedError)
    for (const other of [new Error('other'), null, undefined, 'text', 1, {}]) {
      expect(other instanceof XmcError).toBe(false)
    }
  })
})

describe('InvalidArgumentError', () => {
  it('names the field, what was expected and what came', () => {
    const error = new InvalidArgumentError('offset', 'an integer from 0 to 4095', 4096)
    expect(error.message).toBe('offset: expected an integer from 0 to 4095, got 4096')
    expect(error).toMatchObject({ field: 'offset', received: 4096 })
  })

  it.each([
    ['text', '"text"'],
    [undefined, 'undefined'],
    [null, 'null'],
    [Number.NaN, 'NaN'],
    [7n, '7n'],
    [Symbol('s'), 'Symbol(s)'],
    [[1, 2], 'Array'],
    [new Map(), 'Map'],
    [Object.create(null), 'an object'],
    [{ constructor: 5 }, 'an object'],
  ])('describes %o', (received, described) => {
    const error = new InvalidArgumentError('field', 'better', received)
    expect(error.message).toBe(`field: expected better, got ${described}`)
    expect(error.received).toBe(received)
  })
})

describe('SystemCallError', () => {
  it('names call and errno', () => {
    const error = new SystemCallError('mmap', constants.errno.ENOMEM, 'no memory areas left')
    expect(error.message).toBe('mmap failed with ENOMEM: no memory areas left')
    expect(error).toMatchObject({ call: 'mmap', errno: 12, errnoName: 'ENOMEM' })
  })
})

describe('ReadOnlyError', () => {
  it('says how to map for write', () => {
    expect(new ReadOnlyError('grants').message).toBe(
      'grants is read-only: map it with { write: true }',
    )
  })
})

describe('ReleasedError', () => {
  it('says to map again', () => {
    expect(new ReleasedError('the mapping').message).toBe('the mapping was released: map it again')
  })
})

describe('RefusedError', () => {
  it('says what it is told', () => {
    expect(new RefusedError('grants: not here').message).toBe('grants: not here')
  })
})

describe('ClosedError', () => {
  it('names what is closed', () => {
    expect(new ClosedError('foreign').message).toBe('foreign is closed: open a new one')
  })
})

describe('BusyError', () => {
  it('counts the locks', () => {
    const error = new BusyError('foreign', 3)
    expect(error.message).toBe('foreign has 3 locks outstanding: release them first')
    expect(error).toMatchObject({ locks: 3, calls: 0 })
  })

  it('counts the calls', () => {
    const error = new BusyError('the window', 0, 2)
    expect(error.message).toBe(
      'the window has 2 calls under way: wait until they have settled, as closeAsync() of a cache does',
    )
    expect(error).toMatchObject({ locks: 0, calls: 2 })
  })
})

describe('nameOfErrno', () => {
  it.each([
    [1, 'EPERM'],
    [2, 'ENOENT'],
    [11, 'EAGAIN'],
    [22, 'EINVAL'],
    [28, 'ENOSPC'],
  ])('gives the name of %i', (errno, name) => {
    expect(nameOfErrno(errno)).toBe(name)
  })

  it.each([
    [0, 'errno 0'],
    [-22, 'errno -22'],
    [1.5, 'errno 1.5'],
    [9999, 'errno 9999'],
    [2 ** 60, 'errno 1152921504606847000'],
    [Number.NaN, 'errno NaN'],
  ])('gives the number where %d has no name', (errno, name) => {
    expect(nameOfErrno(errno)).toBe(name)
  })
})

describe('errnoOf', () => {
  it.each([
    [{ errno: 22 }, 22],
    [{ errno: -2 }, 2],
    [{ errno: 0 }, undefined],
    [{ errno: 1.5 }, undefined],
    [{ errno: '22' }, undefined],
    [new Error('none'), undefined],
    [null, undefined],
    [22, undefined],
  ])('of %o is %o', (error, errno) => {
    expect(errnoOf(error)).toBe(errno)
  })
})

describe('messageOf', () => {
  it('is the message of an error, and the text of anything else', () => {
    expect(messageOf(new Error('no'))).toBe('no')
    expect(messageOf('no')).toBe('no')
    expect(messageOf(undefined)).toBe('undefined')
  })
})

/** An error whose text counts how often it is made. */
function lazy(cause?: unknown) {
  const made = { times: 0 }
  const text = (): string => {
    made.times++
    return `page ${made.times} is missing`
  }
  return { made, error: new XmcError('ERR_XMC_LAZY', text, { cause }) }
}

describe('an error of a guest’s making', () => {
  it('makes its message when somebody asks, once', () => {
    const { made, error } = lazy()
    expect(made.times).toBe(0)
    expect(error.message).toBe('page 1 is missing')
    expect(error.message).toBe('page 1 is missing')
    expect(made.times).toBe(1)
  })

  it('has no frames in its stack, and all else that an error shows', () => {
    const { error } = lazy(new RangeError('why'))
    expect(error).toBeInstanceOf(Error)
    expect(error.stack).toBe('XmcError: page 1 is missing')
    expect(String(error)).toBe('XmcError: page 1 is missing')
    const text = inspect(error)
    expect(text).toMatch(/^\[XmcError: page 1 is missing\] \{/)
    expect(text).toContain("code: 'ERR_XMC_LAZY'")
    expect(text).toContain('RangeError: why')
  })

  it('shows everything of a class with fields', () => {
    const call = new SystemCallError('gntdev map', 22, () => 'refused')
    expect(call.message).toBe('gntdev map failed with EINVAL: refused')
    expect(call.stack).toBe('SystemCallError: gntdev map failed with EINVAL: refused')
    const text = inspect(call)
    expect(text).toContain('[SystemCallError: gntdev map failed with EINVAL: refused]')
    expect(text).toContain("errnoName: 'EINVAL'")
  })

  it('leaves the frames of others alone', () => {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 7
    try {
      lazy()
      expect(Error.stackTraceLimit).toBe(7)
      expect(new Error('mine').stack).toContain('errors.test')
      expect(new XmcError('ERR_XMC_HOST', 'a fault of the host').stack).toContain('errors.test')
    } finally {
      Error.stackTraceLimit = limit
    }
  })

  it.each([
    ['a limit that cannot be set', { value: 5, writable: false, configurable: true }],
    ['no limit at all', { value: undefined, writable: true, configurable: true }],
    ['a limit of 0', { value: 0, writable: true, configurable: true }],
  ])('is made with %s, too', (_what, property) => {
    const before = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')
    Object.defineProperty(Error, 'stackTraceLimit', property)
    try {
      expect(lazy().error.message).toBe('page 1 is missing')
      expect(Error.stackTraceLimit).toBe(property.value)
    } finally {
      Object.defineProperty(Error, 'stackTraceLimit', before ?? { value: 10, writable: true })
    }
  })

  it('lets its message be changed, as of any error', () => {
    const { error } = lazy()
    error.message = `queue 0: ${error.message}`
    expect(error.message).toBe('queue 0: page 1 is missing')
    expect(Object.keys(error)).not.toContain('message')
    expect(XmcError.prototype.message).toBe('')
  })
})
