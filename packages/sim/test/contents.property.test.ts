import fc from 'fast-check'
import { expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import { errnoOf, RAM, World } from './helpers/world.ts'

/** A page that the model knows: whoever refers to it sees one number. */
interface ModelPage {
  value: number
}

interface ModelMapping {
  readonly kind: 'foreign' | 'grant'
  readonly at: number
  /** Undefined where the page failed. */
  readonly pages: readonly (ModelPage | undefined)[]
  readonly writable: boolean
}

const FRAMES = 12
const PLACES = 24

const frame = fc.nat(FRAMES - 1)
const place = fc.nat(PLACES - 1)
const frames = fc.oneof(
  fc.array(frame, { minLength: 1, maxLength: 5 }),
  fc.record({ first: frame, count: fc.integer({ min: 1, max: 5 }) }),
)
const value = fc.integer({ min: 1, max: 0xffff_ffff })

const count = fc.integer({ min: 1, max: 4 })

const step = fc.oneof(
  fc.record({ kind: fc.constant('populate' as const), frame, count }),
  fc.record({ kind: fc.constant('depopulate' as const), frame, count }),
  fc.record({ kind: fc.constant('guest write' as const), frame, value }),
  fc.record({ kind: fc.constant('window write' as const), place, value }),
  fc.record({ kind: fc.constant('map frames' as const), frames, place }),
  fc.record({ kind: fc.constant('map grants' as const), frames, place, writable: fc.boolean() }),
  fc.record({ kind: fc.constant('unmap' as const), mapping: fc.nat(7) }),
)

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never
type StepOf<Kind extends Step['kind']> = Extract<Step, { kind: Kind }>

/** What a small, obviously correct hypervisor would show. */
class Model {
  readonly guest = new Map<number, ModelPage>()
  readonly mappings: ModelMapping[] = []

  constructor() {
    for (let f = 0; f < FRAMES; f++) this.guest.set(f, { value: 0 })
  }

  windowPage(page: number): ModelPage | undefined {
    const mapping = this.#mappingAt(page)
    return mapping?.pages[page - mapping.at]
  }

  isWritable(page: number): boolean {
    return this.#mappingAt(page)?.writable ?? false
  }

  isFree(at: number, size: number): boolean {
    return this.mappings.every(
      ({ at: start, pages }) => at + size <= start || start + pages.length <= at,
    )
  }

  #mappingAt(page: number): ModelMapping | undefined {
    return this.mappings.find(({ at, pages }) => page >= at && page < at + pages.length)
  }
}

function list(pages: readonly number[] | { first: number; count: number }): number[] {
  return 'count' in pages
    ? Array.from({ length: pages.count }, (_, i) => pages.first + i)
    : [...pages]
}

function run(world: World, model: Model, each: Step): void {
  switch (each.kind) {
    case 'populate':
      world.guest.populate(RAM + each.frame, each.count)
      for (const f of list({ first: each.frame, count: each.count })) {
        if (!model.guest.has(f)) model.guest.set(f, { value: 0 })
      }
      return
    case 'depopulate':
      world.guest.depopulate(RAM + each.frame, each.count)
      for (const f of list({ first: each.frame, count: each.count })) model.guest.delete(f)
      return
    case 'guest write': {
      const page = model.guest.get(each.frame)
      if (page === undefined) return
      world.guestWrite(RAM + each.frame, each.value)
      page.value = each.value
      return
    }
    case 'window write': {
      const page = model.windowPage(each.place)
      // A store to a page mapped read-only would end the process.
      if (page === undefined || !model.isWritable(each.place)) return
      world.write(each.place, each.value)
      page.value = each.value
      return
    }
    case 'map frames':
      return mapFrames(world, model, each)
    case 'map grants':
      return mapGrants(world, model, each)
    case 'unmap':
      return unmap(world, model, each.mapping)
    default:
      throw each satisfies never
  }
}

function mapFrames(world: World, model: Model, each: StepOf<'map frames'>): void {
  const wanted = list(each.frames)
  if (!model.isFree(each.place, wanted.length)) return
  const pages = wanted.map((f) => model.guest.get(f))
  const plain =
    'count' in each.frames
      ? { first: RAM + each.frames.first, count: each.frames.count }
      : each.frames.map((f) => RAM + f)
  const errors = world.mapFrames(plain, { at: each.place })
  expect(errors).toEqual(pages.map((page) => (page === undefined ? 22 : 0)))
  if (pages.every((page) => page === undefined)) return
  model.mappings.push({ kind: 'foreign', at: each.place, pages, writable: true })
}

function mapGrants(world: World, model: Model, each: StepOf<'map grants'>): void {
  const { place: at, writable } = each
  const wanted = list(each.frames)
  if (!model.isFree(at, wanted.length)) return
  const pages = wanted.map((f) => model.guest.get(f))
  const references = world.share(
    wanted.map((f) => RAM + f),
    !writable,
  )
  const map = () => world.mapReferences(references, { at, writable })
  if (pages.includes(undefined)) return expect(errnoOf(map)).toBe('EINVAL')
  map()
  model.mappings.push({ kind: 'grant', at, pages, writable })
}

function unmap(world: World, model: Model, index: number): void {
  const [mapping] = model.mappings.splice(index, 1)
  if (mapping?.kind === 'foreign') world.unmapForeign(mapping.at, mapping.pages.length)
  if (mapping?.kind === 'grant') world.unmapGrants(mapping.at, mapping.pages.length)
}

function compare(world: World, model: Model): void {
  const shown = Array.from({ length: PLACES + 5 }, (_, page) => world.read(page))
  const expected = shown.map((_, page) => model.windowPage(page)?.value ?? 0)
  expect(shown).toEqual(expected)
  const guestFrames = Array.from({ length: FRAMES + 5 }, (_, f) => f)
  const isPopulated = (f: number) => world.guest.p2m.machineOf(RAM + f) >= 0
  const seen = guestFrames.map((f) => (isPopulated(f) ? world.guestRead(RAM + f) : 'hole'))
  expect(seen).toEqual(guestFrames.map((f) => model.guest.get(f)?.value ?? 'hole'))
}

test('any sequence of populating, mapping and writing keeps contents as a simple model has them', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
      using world = new World()
      world.guest.depopulate(RAM + FRAMES, 1024 - FRAMES)
      const model = new Model()
      for (const each of steps) {
        run(world, model, each)
        compare(world, model)
      }
      while (model.mappings.length > 0) unmap(world, model, 0)
      compare(world, model)
      const { hypervisor } = world
      expect(hypervisor.accounting.leftovers()).toEqual([])
      expect(hypervisor.orphanedPages).toBe(0)
      expect(hypervisor.allocatedPages).toBe(4096 + model.guest.size)
    }),
    propertyRuns(20, 150),
  )
})
