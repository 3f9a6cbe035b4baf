import { ReleasedError } from '@xmc/interface'
import type { DmaMapping } from './dma-mapping.ts'
import { callAll, throwAll } from './internal/call-all.ts'
import { checkByteCount } from './internal/page.ts'

/** A range to map, by device address. */
export interface DmaRange {
  /** 0 to 2^52 − 1. */
  readonly page: number
  /** 0 to 4095. */
  readonly offset: number
  /** Bytes, at least 1. */
  readonly length: number
}

/** Several ranges that were mapped together and are released together. */
export class ScatterList {
  /**
   * The memory, in the order of the ranges: one mapping for each, or several where a range is not
   * contiguous. Do not release them one by one.
   */
  readonly mappings: readonly DmaMapping[]
  /** Bytes of all of them. */
  readonly length: number
  private done = false

  /** @internal */
  constructor(mappings: readonly DmaMapping[]) {
    this.mappings = mappings
    this.length = mappings.reduce((sum, mapping) => sum + mapping.length, 0)
  }

  /** True after `release`. */
  get released(): boolean {
    return this.done
  }

  /**
   * Releases all of it. `accessed` is the number of bytes really written, counted through from the
   * start of the first range.
   *
   * @throws ReleasedError `ERR_XMC_RELEASED`; InvalidArgumentError `ERR_XMC_ARGUMENT`: nothing was done
   * @throws what a mapping's release throws, an AggregateError for several: all were released nevertheless
   */
  release(accessed: number): void {
    if (this.done) throw new ReleasedError('the scatter list')
    checkByteCount('accessed', accessed, 0, this.length)
    this.done = true
    const errors: unknown[] = []
    releaseMappings(this.mappings, accessed, errors)
    throwAll(errors)
  }
}

/** @internal A way to map one range, shorter than asked perhaps. */
type MapRange<Result> = (page: number, offset: number, length: number) => Result

/** @internal Maps all ranges or none. */
export function mapScatterList(
  ranges: readonly DmaRange[],
  map: MapRange<DmaMapping>,
): ScatterList {
  const mappings: DmaMapping[] = []
  try {
    for (const range of ranges) {
      for (let done = 0; done === 0 || done < range.length; ) {
        const mapping = map(...rest(range, done))
        mappings.push(mapping)
        done += mapping.length
      }
    }
  } catch (error) {
    giveUp(mappings, error)
  }
  return new ScatterList(mappings)
}

/** @internal As `mapScatterList`, with a map that takes time; one range after the other. */
export async function mapScatterListAsync(
  ranges: readonly DmaRange[],
  map: MapRange<Promise<DmaMapping>>,
): Promise<ScatterList> {
  const mappings: DmaMapping[] = []
  try {
    for (const range of ranges) {
      for (let done = 0; done === 0 || done < range.length; ) {
        // oxlint-disable-next-line no-await-in-loop -- where a part starts depends on how long the last one was
        const mapping = await map(...rest(range, done))
        mappings.push(mapping)
        done += mapping.length
      }
    }
  } catch (error) {
    giveUp(mappings, error)
  }
  return new ScatterList(mappings)
}

function rest(range: DmaRange, done: number): [page: number, offset: number, length: number] {
  const position = range.offset + done
  if (done === 0) return [range.page, range.offset, range.length]
  return [range.page + Math.floor(position / 4096), position % 4096, range.length - done]
}

function releaseMappings(
  mappings: readonly DmaMapping[],
  accessed: number,
  errors: unknown[],
): void {
  let left = accessed
  const calls = mappings.map((mapping) => {
    const part = Math.min(left, mapping.length)
    left -= part
    return (): void => mapping.release(part)
  })
  callAll(calls, errors)
}

/** Releases what was mapped and throws why the rest was not. */
function giveUp(mappings: readonly DmaMapping[], reason: unknown): void {
  const errors = [reason]
  releaseMappings(mappings, 0, errors)
  throwAll(errors)
}
