import { constants } from 'node:os'
import { inspect } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import {
  BusyError,
  ClosedError,
  errnoOf,
  InvalidArgumentError,
  LockLimitError,
  messageOf,
  NotLockedError,
  NotMappedError,
  nameOfErrno,
  PagedOutError,
  PagesMissingError,
  ReadOnlyError,
  RefusedError,
  ReleasedError,
  SystemCallError,
  UnmapFailedError,
  WindowFullError,
  WrongCacheError,
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

  it('is the base of every error, each under the name of its class', () => {
    const errors = [
      new InvalidArgumentError('field', 'x', 1),
      new SystemCallError('mmap', 12, 'detail'),
      new PagesMissingError('foreign', 1, 22),
      new PagedOutError('foreign', 1),
      new ReadOnlyError('it'),
      new ReleasedError('it'),
      new NotLockedError('foreign', 1, 2),
      new WrongCacheError('foreign', 'the view'),
      new LockLimitError('foreign', 1, 2),
      new WindowFullError('foreign', 1, 2, { lockedPages: 1, lostPages: 1, shortage: 'passing' }),
      new UnmapFailedError('foreign', 1, 2, undefined),
      new NotMappedError('foreign', 1, 2),
      new RefusedError('no'),
      new ClosedError('it'),
      new BusyError('it', 1),
    ]
    expect(errors.every((error) => error instanceof XmcError)).toBe(true)
    expect(errors.map((error) => [error.name, error.code])).toEqual([
      ['InvalidArgumentError', 'ERR_XMC_ARGUMENT'],
      ['SystemCallError', 'ERR_XMC_SYSTEM_CALL'],
      ['PagesMissingError', 'ERR_XMC_PAGES_MISSING'],
      ['PagedOutError', 'ERR_XMC_PAGED_OUT'],
      ['ReadOnlyError', 'ERR_XMC_READ_ONLY'],
      ['ReleasedError', 'ERR_XMC_RELEASED'],
      ['NotLockedError', 'ERR_XMC_NOT_LOCKED'],
      ['WrongCacheError', 'ERR_XMC_WRONG_CACHE'],
      ['LockLimitError', 'ERR_XMC_LOCK_LIMIT'],
      ['WindowFullError', 'ERR_XMC_WINDOW_FULL'],
      ['UnmapFailedError', 'ERR_XMC_UNMAP_FAILED'],
      ['NotMappedError', 'ERR_XMC_NOT_MAPPED'],
      ['RefusedError', 'ERR_XMC_REFUSED'],
      ['ClosedError', 'ERR_XMC_CLOSED'],
      ['BusyError', 'ERR_XMC_BUSY'],
    ])
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

describe('PagesMissingError', () => {
  it('names cache, page and errno', () => {
    const error = new PagesMissingError('foreign', 0x4_0000, 22)
    expect(error.message).toBe(
      'foreign: page 0x40000 cannot be mapped (EINVAL): the guest has no memory there, or is gone',
    )
    expect(error).toMatchObject({
      cache: 'foreign',
      page: 0x4_0000,
      errno: 22,
      errnoName: 'EINVAL',
    })
  })
})

describe('PagedOutError', () => {
  it('names cache and page, and says what to do', () => {
    const error = new PagedOutError('foreign', 7)
    expect(error.message).toBe(
      'foreign: page 0x7 is paged out: use the asynchronous form, which waits for it, or try again later',
    )
    expect(error).toMatchObject({ cache: 'foreign', page: 7 })
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

describe('NotLockedError', () => {
  it('names the pointer', () => {
    const error = new NotLockedError('foreign', 300, 16)
    expect(error.message).toBe(
      'foreign: no lock is outstanding at window page 300, offset 16: it was released before, or never handed out',
    )
    expect(error).toMatchObject({ windowPage: 300, offset: 16 })
  })
})

describe('WrongCacheError', () => {
  it('names the cache that was asked', () => {
    expect(new WrongCacheError('grants', 'the view').message).toBe(
      'grants: the view belongs to another cache: give it to that one',
    )
  })
})

describe('LockLimitError', () => {
  it('names page and limit', () => {
    const error = new LockLimitError('grants', 255, 524_287)
    expect(error.message).toBe(
      'grants: page 0xff already has 524287 locks at one offset, the limit: release some',
    )
    expect(error.limit).toBe(524_287)
  })
})

describe('WindowFullError', () => {
  it('names what was needed and what there is', () => {
    const usage = { lockedPages: 1024, lostPages: 0, shortage: 'passing' } as const
    const error = new WindowFullError('foreign', 512, 1024, usage)
    expect(error.message).toBe(
      'foreign: no 512 contiguous pages are free in a window of 1024: 1024 are locked, 0 could not be unmapped: release mappings or make the window larger',
    )
    expect(error).toMatchObject({ requestedPages: 512, windowPages: 1024, ...usage })
  })

  it('tells lost pages from locked ones', () => {
    const usage = { lockedPages: 256, lostPages: 768, shortage: 'passing' } as const
    const error = new WindowFullError('foreign', 256, 1024, usage)
    expect(error.message).toBe(
      'foreign: no 256 contiguous pages are free in a window of 1024: 256 are locked, 768 could not be unmapped: release mappings, see why unmaps fail, or make the window larger',
    )
    expect(error).toMatchObject(usage)
  })

  it('says when nothing that others release would help', () => {
    const usage = { lockedPages: 0, lostPages: 0, shortage: 'lasting' } as const
    const error = new WindowFullError('foreign', 2048, 1024, usage)
    expect(error.message).toBe(
      'foreign: 2048 contiguous pages do not fit a window of 1024: ask for less, or make the window larger',
    )
    expect(error.shortage).toBe('lasting')
  })
})

describe('UnmapFailedError', () => {
  it('names the place and keeps the cause', () => {
    const cause = new Error('why')
    const error = new UnmapFailedError('grants', 3, 4, cause)
    expect(error.message).toBe(
      'grants: 4 pages at window page 3 could not be unmapped: the place is out of use until they are; flush() and close() try again',
    )
    expect(error).toMatchObject({ windowPage: 3, pageCount: 4, cause })
  })
})

describe('NotMappedError', () => {
  it('names page and size', () => {
    expect(new NotMappedError('foreign', 0x40, 2).message).toBe(
      'foreign: nothing is mapped at page 0x40 with 2 pages: give the address and length of the mapping to replace',
    )
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

  it('tells a page that is missing from one that the host has no memory to map', () => {
    expect(new PagesMissingError('foreign', 7, constants.errno.EINVAL).shortage).toBeUndefined()
    expect(new PagesMissingError('foreign', 7, constants.errno.ENOMEM)).toMatchObject({
      shortage: 'passing',
      message:
        'foreign: page 0x7 cannot be mapped (ENOMEM): the host has no memory for it: wait until other mappings are released',
    })
  })

  it('shows everything of a class with fields', () => {
    const text = inspect(new PagesMissingError('foreign', 7, 22))
    expect(text).toContain('[PagesMissingError: foreign: page 0x7 cannot be mapped (EINVAL)')
    expect(text).toContain("errnoName: 'EINVAL'")
    const call = new SystemCallError('gntdev map', 22, () => 'refused')
    expect(call.message).toBe('gntdev map failed with EINVAL: refused')
    expect(call.stack).toBe('SystemCallError: gntdev map failed with EINVAL: refused')
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
