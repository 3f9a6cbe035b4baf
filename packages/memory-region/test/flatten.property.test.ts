import fc from 'fast-check'
import { expect, test } from 'vitest'
import { propertyRuns } from '../../../vitest.properties.ts'
import {
  AddressSpace,
  AliasRegion,
  ContainerRegion,
  joinAddress,
  type MemoryRegion,
  MmioRegion,
  PlainMemory,
  RamRegion,
  splitAddress,
  UnassignedAccessError,
} from '../src/index.ts'

/** Addresses are multiples of this, so that ranges begin and end inside pages too. */
const UNIT = 0x400n
const UNITS = 32

/** A region to make: a kind, a place in its container, and what it holds or shows. */
interface Shape {
  readonly kind: 'ram' | 'mmio' | 'container' | 'alias'
  readonly at: number
  readonly units: number
  readonly priority: number
  readonly enabled: boolean
  readonly readOnly: boolean
  /** Which of the regions made before an alias shows, and from which unit on. */
  readonly shows: number
  readonly from: number
  readonly members: readonly Shape[]
}

/** Shapes nested to a depth. */
function shapes(depth: number): fc.Arbitrary<Shape> {
  const inner = depth === 0 ? fc.constant([]) : fc.array(shapes(depth - 1), { maxLength: 5 })
  return fc.record({
    kind: fc.constantFrom<Shape['kind']>('ram', 'mmio', 'container', 'container', 'alias'),
    at: fc.nat(UNITS - 1),
    units: fc.integer({ min: 1, max: UNITS }),
    priority: fc.integer({ min: -1, max: 1 }),
    enabled: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, fc.constant(false)),
    readOnly: fc.boolean(),
    shows: fc.nat(20),
    from: fc.nat(UNITS),
    members: inner,
  })
}

const maps = fc.array(shapes(2), { minLength: 1, maxLength: 6 })

/** Makes regions, and keeps them in the order they were made. */
class Maker {
  readonly made: MemoryRegion[] = []
  /** For each container, in the order they were added: what the model looks at. */
  readonly placed: Map<MemoryRegion, { shape: Shape; region: MemoryRegion }[]> = new Map()

  make(wanted: Shape): MemoryRegion {
    const region = this.regionOf(wanted)
    this.made.push(region)
    return region
  }

  populate(container: ContainerRegion, wanted: readonly Shape[]): void {
    const placed = wanted.map((member) => ({ shape: member, region: this.make(member) }))
    for (const {
      shape: { at, priority },
      region,
    } of placed) {
      container.add(region, (BigInt(at) * UNIT) % container.size, { priority })
    }
    this.placed.set(container, placed)
  }

  private regionOf(wanted: Shape): MemoryRegion {
    const { enabled, readOnly } = wanted
    const name = `region ${this.made.length}`
    const size = BigInt(wanted.units) * UNIT
    if (wanted.kind === 'container') {
      const container = new ContainerRegion({ name, size, enabled })
      this.populate(container, wanted.members)
      return container
    }
    const target = this.made[wanted.shows % Math.max(1, this.made.length)]
    if (wanted.kind === 'alias' && target !== undefined) {
      const offset = (BigInt(wanted.from) * UNIT) % target.size
      return new AliasRegion({ name, size, enabled, target, offset, readOnly })
    }
    if (wanted.kind === 'mmio') {
      const device = { read: (offset: number) => markOf(name, offset), write: () => {} }
      return new MmioRegion({ name, size, enabled, device })
    }
    const backing = new PlainMemory({ pageCount: UNITS })
    for (let unit = 0; unit < wanted.units; unit++) {
      const offset = unit * Number(UNIT)
      backing.storeUint8(offset >> 12, offset & 4095, markOf(name, offset))
    }
    return new RamRegion({ name, size, enabled, backing, readOnly })
  }
}

/** A byte that tells regions and their parts apart. */
function markOf(name: string, offset: number): number {
  return (Number(name.slice(7)) * 37 + offset / Number(UNIT)) & 0xff
}

/** What the visibility rules say of one byte: the region, the byte of it, and whether it is read-only. */
function winner(
  maker: Maker,
  region: MemoryRegion,
  offset: bigint,
): { region: MemoryRegion; offset: bigint; readOnly: boolean } | undefined {
  if (!region.enabled || offset < 0n || offset >= region.size) return undefined
  if (region instanceof AliasRegion) {
    const found = winner(maker, region.target, offset + region.offset)
    return found && { ...found, readOnly: found.readOnly || region.readOnly }
  }
  if (!(region instanceof ContainerRegion)) {
    return { region, offset, readOnly: region instanceof RamRegion && region.readOnly }
  }
  const placed = maker.placed.get(region) ?? []
  let best: { priority: number; found: ReturnType<typeof winner> } | undefined
  for (const member of placed) {
    const at = (BigInt(member.shape.at) * UNIT) % region.size
    const found = winner(maker, member.region, offset - at)
    const { priority } = member.shape
    if (found !== undefined && (best === undefined || priority >= best.priority)) {
      best = { priority, found }
    }
  }
  return best?.found
}

function loadOrNothing(space: AddressSpace, address: bigint): number | 'nothing' {
  try {
    return space.loadUint8At(address)
  } catch (error) {
    if (error instanceof UnassignedAccessError && error.address === address) return 'nothing'
    throw error
  }
}

test('each byte belongs to the region that the rules of visibility name', () => {
  fc.assert(
    fc.property(maps, (wanted) => {
      const maker = new Maker()
      const root = new ContainerRegion({ name: 'root', size: BigInt(2 * UNITS) * UNIT })
      const space = new AddressSpace({ root })
      space.transaction(() => maker.populate(root, wanted))
      const addresses = Array.from({ length: 2 * UNITS }, (_, unit) => BigInt(unit) * UNIT)
      const expected = addresses.map((address) => {
        const found = winner(maker, root, address)
        return found && [found.region.name, found.offset, found.readOnly]
      })
      const seen = addresses.map((address) => {
        const at = space.sections.find((s) => address >= s.address && address < s.address + s.size)
        return at && [at.region.name, at.offset + address - at.address, at.readOnly]
      })
      expect(seen).toEqual(expected)
      const marks = addresses.map((address) => {
        const found = winner(maker, root, address)
        return found === undefined ? 'nothing' : markOf(found.region.name, Number(found.offset))
      })
      expect(addresses.map((address) => loadOrNothing(space, address))).toEqual(marks)
    }),
    propertyRuns(50, 400),
  )
})

test('the ranges are in order, apart, and as long as they can be', () => {
  fc.assert(
    fc.property(maps, (wanted) => {
      const maker = new Maker()
      const root = new ContainerRegion({ name: 'root' })
      maker.populate(root, wanted)
      const { sections } = new AddressSpace({ root })
      for (const [i, section] of sections.entries()) {
        const next = sections[i + 1]
        if (next === undefined) continue
        const end = section.address + section.size
        expect(next.address).toBeGreaterThanOrEqual(end)
        const continues =
          next.address === end &&
          next.region === section.region &&
          next.offset === section.offset + section.size &&
          next.readOnly === section.readOnly
        expect(continues).toBe(false)
      }
    }),
    propertyRuns(50, 200),
  )
})

test('a view after any changes is the view of a new space, and listeners know it', () => {
  fc.assert(
    fc.property(
      maps,
      fc.array(fc.record({ which: fc.nat(40), at: fc.nat(UNITS - 1), toggle: fc.boolean() }), {
        maxLength: 8,
      }),
      (wanted, changes) => {
        const maker = new Maker()
        const root = new ContainerRegion({ name: 'root' })
        const space = new AddressSpace({ root })
        const known = new Map<bigint, unknown>()
        space.addListener({
          added: (section) => {
            expect(known.has(section.address)).toBe(false)
            known.set(section.address, section)
          },
          removed: (section) => {
            expect(known.get(section.address)).toEqual(section)
            known.delete(section.address)
          },
        })
        maker.populate(root, wanted)
        for (const { which, at, toggle } of changes) {
          const region = maker.made.at(which % maker.made.length)
          if (region === undefined) continue
          const { container } = region.placement ?? {}
          if (toggle) region.enabled = !region.enabled
          else if (container instanceof ContainerRegion) {
            container.move(region, (BigInt(at) * UNIT) % container.size)
          }
        }
        const fresh = new AddressSpace({ root }).sections
        expect(space.sections).toEqual(fresh)
        expect(new Set(known.values())).toEqual(new Set(fresh))
      },
    ),
    propertyRuns(50, 300),
  )
})

test('splitAddress and joinAddress are inverse', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (address) => {
      const { page, offset } = splitAddress(address)
      expect(joinAddress(page, offset)).toBe(address)
    }),
    propertyRuns(100),
  )
})
