import { constants } from 'node:os'
import { inspect } from 'node:util'
import {
  BusyError,
  ClosedError,
  InvalidArgumentError,
  ReadOnlyError,
  RefusedError,
  ReleasedError,
  SystemCallError,
  XmcError,
} from '@xmc/interface'
import { describe, expect, it } from 'vitest'
import {
  LockLimitError,
  NotLockedError,
  NotMappedError,
  PagedOutError,
  PagesMissingError,
  UnmapFailedError,
  WindowFullError,
  WrongCacheError,
} from '../src/errors.ts'

describe('XmcError', () => {
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

describe('an error of a guest’s making', () => {
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
  })
})
