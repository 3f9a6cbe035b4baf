/** Buckets whose numbers are equal modulo this share places, as in the original at its largest size. */
const CLASSES = 32_768

interface Places {
  /** Head slot of the entry in the first place, or -1 while that place is empty. */
  head: number
  readonly rest: number[]
}

/**
 * Which unlocked entry gives way to a new one in strict mode: the original's rule, told
 * without its chains. Buckets of one class share a first place, which stays when it is emptied, and
 * further places, which go with their entry. A new entry takes the first place that is empty or
 * unlocked, and a further one when there is none.
 */
export class StrictPlaces {
  private readonly classes: Map<number, Places> = new Map()

  /** The entry that must be unmapped before bucket `index` is mapped, or -1. */
  victim(index: number, isUnlocked: (slot: number) => boolean): number {
    const places = this.classes.get(index % CLASSES)
    if (places === undefined || places.head < 0) return -1
    if (isUnlocked(places.head)) return places.head
    return places.rest.find(isUnlocked) ?? -1
  }

  /** Notes that bucket `index` is mapped in the entry `slot`. */
  occupy(index: number, slot: number): void {
    const places = this.classes.get(index % CLASSES)
    if (places === undefined) this.classes.set(index % CLASSES, { head: slot, rest: [] })
    else if (places.head < 0) places.head = slot
    else places.rest.push(slot)
  }

  /** Notes that the entry `slot` of bucket `index` is gone. */
  vacate(index: number, slot: number): void {
    const places = this.classes.get(index % CLASSES)
    if (places === undefined) return
    if (places.head === slot) places.head = -1
    const at = places.rest.indexOf(slot)
    if (at >= 0) places.rest.splice(at, 1)
    if (places.head < 0 && places.rest.length === 0) this.classes.delete(index % CLASSES)
  }
}
