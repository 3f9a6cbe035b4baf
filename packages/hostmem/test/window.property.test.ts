import { windowPage, XmcError } from '@xmc/interface'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import {
  createMemoryFile,
  type HostMemoryWindow,
  type MemoryFile,
  openWindow,
} from '../src/index.ts'
import { bytesOf, firstBytes } from './helpers/pages.ts'

const WINDOW_PAGES = 12
const FILE_PAGES = 6
const NO_DESCRIPTOR = 1_000_000

/** What a page of the window holds: a byte of its own, or a page of the file. */
type Page = { readonly byte: number } | { readonly filePage: number; readonly writable: boolean }

/** One byte stands for a page: the model knows nothing of areas, kinds or states. */
interface Model {
  readonly window: Page[]
  readonly file: number[]
}

type Operation =
  | { type: 'map' | 'failingMap'; page: number; count: number; filePage: number; writable: boolean }
  | { type: 'reset' | 'discard'; page: number; count: number }
  | { type: 'store' | 'writeFile'; page: number; byte: number }
  | { type: 'punchHole'; page: number }

const page = fc.nat({ max: WINDOW_PAGES - 1 })
const count = fc.integer({ min: 1, max: 4 })
const byte = fc.integer({ min: 1, max: 255 })
const place = { page, count, filePage: fc.nat({ max: FILE_PAGES - 1 }), writable: fc.boolean() }
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('map'), ...place }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('failingMap'), ...place }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('reset'), page, count }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('discard'), page, count }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('store'), page, byte }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('writeFile'), page, byte }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('punchHole'), page }) },
)

it('any sequence of operations leaves the bytes and the count that a list of pages predicts', () => {
  using window = openWindow({ pageCount: WINDOW_PAGES })
  const view = bytesOf(window, 0, WINDOW_PAGES)
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      using file = createMemoryFile({ name: 'property', size: FILE_PAGES * 4096 })
      window.reset(windowPage(0), WINDOW_PAGES)
      const model: Model = {
        window: Array.from({ length: WINDOW_PAGES }, () => ({ byte: 0 })),
        file: Array.from({ length: FILE_PAGES }, () => 0),
      }
      for (const each of operations) {
        const predicted = predict(each, model)
        expect(apply(each, window, view, file, model)).toBe(predicted)
        const expected = model.window.map((held) =>
          'filePage' in held ? model.file[held.filePage] : held.byte,
        )
        const mapped = model.window.filter((held) => 'filePage' in held).length
        expect(firstBytes(view)).toEqual(expected)
        expect(window.mappedPages).toBe(mapped)
      }
      const bytes = new Uint8Array(FILE_PAGES * 4096)
      file.read(0, bytes)
      expect(firstBytes(bytes)).toEqual(model.file)
    }),
    propertyRuns(50, 500),
  )
})

/** What the operation is to end with: `done`, or the code of an error. */
function predict(each: Operation, model: Model): string {
  if (each.type === 'failingMap') return 'ERR_XMC_SYSTEM_CALL'
  if (each.type !== 'discard') return 'done'
  const held = model.window.slice(each.page, each.page + each.count)
  return held.some((one) => 'filePage' in one) ? 'ERR_XMC_REFUSED' : 'done'
}

/** Does the operation to the window and to the model. */
function apply(
  each: Operation,
  window: HostMemoryWindow,
  view: Uint8Array,
  file: MemoryFile,
  model: Model,
): string {
  switch (each.type) {
    case 'map':
    case 'failingMap': {
      const { filePage, writable } = each
      const pages = Math.min(each.count, WINDOW_PAGES - each.page, FILE_PAGES - filePage)
      const fails = each.type === 'failingMap'
      const fd = fails ? NO_DESCRIPTOR : file.fd
      for (let index = 0; index < pages; index++) {
        model.window[each.page + index] = fails
          ? { byte: 0 }
          : { filePage: filePage + index, writable }
      }
      return outcomeOf(() => {
        window.map(windowPage(each.page), pages, fd, filePage * 4096, writable)
      })
    }
    case 'reset':
    case 'discard': {
      const pages = Math.min(each.count, WINDOW_PAGES - each.page)
      const outcome = outcomeOf(() => window[each.type](windowPage(each.page), pages))
      if (outcome !== 'done') return outcome
      for (let index = 0; index < pages; index++) model.window[each.page + index] = { byte: 0 }
      return outcome
    }
    case 'store': {
      const held = model.window[each.page]
      if (held === undefined || ('filePage' in held && !held.writable)) return 'done'
      view[each.page * 4096] = each.byte
      if ('filePage' in held) model.file[held.filePage] = each.byte
      else model.window[each.page] = { byte: each.byte }
      return 'done'
    }
    case 'writeFile': {
      const filePage = each.page % FILE_PAGES
      model.file[filePage] = each.byte
      return outcomeOf(() => file.write(filePage * 4096, Uint8Array.of(each.byte)))
    }
    default: {
      const filePage = each.page % FILE_PAGES
      model.file[filePage] = 0
      return outcomeOf(() => file.punchHole(filePage * 4096, 4096))
    }
  }
}

function outcomeOf(action: () => void): string {
  try {
    action()
    return 'done'
  } catch (error) {
    if (error instanceof XmcError) return error.code
    throw error
  }
}
