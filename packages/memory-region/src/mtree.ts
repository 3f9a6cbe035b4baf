import type { AddressSpace } from './address-space.ts'
import { AliasRegion } from './alias-region.ts'
import { ContainerRegion } from './container-region.ts'
import type { MemoryRegion } from './memory-region.ts'
import type { MemorySection } from './memory-section.ts'
import { RamRegion } from './ram-region.ts'

/** What `mtree` shows. */
export interface MtreeOptions {
  /** Show the flattened view, what is really seen, instead of the regions; false by default. */
  readonly flat?: boolean | undefined
}

/**
 * A picture of an address space in the manner of `info mtree`: its regions as a tree, indented by
 * what contains what, then every region that is only seen through aliases. With `flat` (`info mtree -f`)
 * the ranges that are seen. One region a line: first and last address, priority, kind and name.
 */
export function mtree(space: AddressSpace, options: MtreeOptions = {}): string {
  const lines = options.flat === true ? flatLines(space) : treeLines(space)
  return `${lines.join('\n')}\n`
}

function flatLines(space: AddressSpace): string[] {
  const ranges = space.sections.map((section) => `  ${sectionLine(section)}`)
  return [`flat view: ${space.name}, root ${space.root.name}`, ...orNothing(ranges)]
}

function treeLines(space: AddressSpace): string[] {
  const tree = new Tree()
  const lines = [`address-space: ${space.name}`, ...tree.lines(space.root, 0n, 1)]
  // Printing one target may find further ones.
  for (const target of tree.targets) {
    if (tree.shown.has(target)) continue
    lines.push('', `memory-region: ${target.name}`, ...tree.lines(target, 0n, 1))
  }
  return lines
}

/** Collects lines, and which regions have theirs. */
class Tree {
  readonly shown: Set<MemoryRegion> = new Set()
  /** Targets of aliases, in the order they are met. */
  readonly targets: Set<MemoryRegion> = new Set()

  lines(region: MemoryRegion, base: bigint, depth: number): string[] {
    this.shown.add(region)
    const lines = ['  '.repeat(depth) + regionLine(region, base)]
    if (region instanceof AliasRegion) this.targets.add(region.target)
    if (!(region instanceof ContainerRegion)) return lines
    const members = region.subregions.toSorted(byAddress)
    return [
      ...lines,
      ...members.flatMap((member) =>
        this.lines(member, base + (member.placement?.address ?? 0n), depth + 1),
      ),
    ]
  }
}

function regionLine(region: MemoryRegion, base: bigint): string {
  const off = region.enabled ? '' : ' [disabled]'
  const head = `${range(base, region.size)} (prio ${priorityOf(region)}, ${kindOf(region, false)}):`
  if (!(region instanceof AliasRegion)) return `${head} ${region.name}${off}`
  const { target, offset, size } = region
  return `${head} alias ${region.name} @${target.name} ${range(offset, size)}${off}`
}

function sectionLine(section: MemorySection): string {
  const { region, address, size, offset, readOnly } = section
  const at = offset === 0n ? '' : ` @${digits(offset)}`
  const kind = kindOf(region, readOnly)
  return `${range(address, size)} (prio ${priorityOf(region)}, ${kind}): ${region.name}${at}`
}

/** `ram`, `rom` for RAM that cannot be written, or `i/o` for whatever is not memory. */
function kindOf(region: MemoryRegion, readOnly: boolean): string {
  if (region instanceof AliasRegion) return kindOf(region.target, readOnly || region.readOnly)
  if (!(region instanceof RamRegion)) return 'i/o'
  return readOnly || region.readOnly ? 'rom' : 'ram'
}

function priorityOf(region: MemoryRegion): number {
  return region.placement?.priority ?? 0
}

function byAddress(a: MemoryRegion, b: MemoryRegion): number {
  const left = a.placement?.address ?? 0n
  const right = b.placement?.address ?? 0n
  if (left === right) return priorityOf(b) - priorityOf(a)
  return left < right ? -1 : 1
}

function orNothing(lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? ['  nothing is seen'] : lines
}

function range(address: bigint, size: bigint): string {
  return `${digits(address)}-${digits(address + size - 1n)}`
}

function digits(value: bigint): string {
  return value.toString(16).padStart(16, '0')
}
