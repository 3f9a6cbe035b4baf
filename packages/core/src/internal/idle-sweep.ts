import type { BucketEngine } from './bucket-engine.ts'

/**
 * Unmaps what was not used for `milliseconds`, looking twice in that time; the timer does not keep the process
 * alive. What listeners throw meanwhile becomes a warning, since nobody could catch it.
 */
export function sweepIdle<Page extends number>(
  engine: BucketEngine<Page>,
  milliseconds: number,
): NodeJS.Timeout {
  const { table } = engine
  let previous = 0
  let last = 0
  const timer = setInterval(() => {
    const idle = table.entries.filter(
      (slot) => table.isFree(slot) && table.stamp[slot]! <= previous,
    )
    for (const slot of idle) {
      // A listener that was told of another may have taken it, or unmapped it.
      if (!table.isFree(slot) || table.stamp[slot]! > previous) continue
      try {
        engine.evict(slot)
      } catch (error) {
        engine.warnings.warn('a RAM listener', error)
      }
    }
    previous = last
    last = engine.epoch
    engine.advance()
  }, milliseconds / 2)
  return timer.unref()
}
