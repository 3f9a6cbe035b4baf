import { AliasRegion } from '../alias-region.ts'
import { ContainerRegion } from '../container-region.ts'
import type { MemoryRegion } from '../memory-region.ts'
import type { MemorySection } from '../memory-section.ts'
import { MmioRegion } from '../mmio-region.ts'
import { RamRegion } from '../ram-region.ts'

/** A range of addresses, end exclusive. */
interface Clip {
  readonly start: bigint
  readonly end: bigint
}

/** What is seen of a graph of regions, in order of addresses, and every region that has a say in it. */
export interface Flattened {
  readonly sections: MemorySection[]
  readonly regions: Set<MemoryRegion>
}

/**
 * Flattens the graph below `root`. Regions are visited in order of visibility, and each fills what is
 * still free: so a region is seen where it stands, unless one before it is seen there.
 */
export function flatten(root: MemoryRegion): Flattened {
  const found: Flattened = { sections: [], regions: new Set() }
  render(root, 0n, { start: 0n, end: root.size }, false, found)
  return { ...found, sections: merge(found.sections) }
}

function render(
  region: MemoryRegion,
  base: bigint,
  outer: Clip,
  readOnly: boolean,
  found: Flattened,
): void {
  found.regions.add(region)
  if (!region.enabled) return
  const clip = { start: max(outer.start, base), end: min(outer.end, base + region.size) }
  if (clip.start >= clip.end) return
  if (region instanceof AliasRegion) {
    render(region.target, base - region.offset, clip, readOnly || region.readOnly, found)
  } else if (region instanceof ContainerRegion) {
    for (const member of region.subregions) {
      render(member, base + (member.placement?.address ?? 0n), clip, readOnly, found)
    }
  } else if (region instanceof RamRegion) {
    fill(found.sections, region, base, clip, readOnly || region.readOnly)
  } else if (region instanceof MmioRegion) {
    fill(found.sections, region, base, clip, readOnly)
  }
}

/** Adds the parts of `clip` that no section has yet. */
function fill(
  sections: MemorySection[],
  region: RamRegion | MmioRegion,
  base: bigint,
  clip: Clip,
  readOnly: boolean,
): void {
  let at = clip.start
  for (let i = 0; at < clip.end; i++) {
    const next = sections[i]
    const end = next === undefined ? clip.end : min(next.address, clip.end)
    if (at < end) {
      sections.splice(i++, 0, { region, address: at, size: end - at, offset: at - base, readOnly })
      at = end
    }
    if (next !== undefined) at = max(at, next.address + next.size)
  }
}

/** Joins neighbours that continue each other, as the parts of a region behind several aliases do. */
function merge(sections: readonly MemorySection[]): MemorySection[] {
  const merged: MemorySection[] = []
  for (const section of sections) {
    const last = merged.at(-1)
    if (
      last !== undefined &&
      last.region === section.region &&
      last.readOnly === section.readOnly &&
      last.address + last.size === section.address &&
      last.offset + last.size === section.offset
    ) {
      merged[merged.length - 1] = { ...last, size: last.size + section.size }
    } else {
      merged.push(section)
    }
  }
  return merged
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
