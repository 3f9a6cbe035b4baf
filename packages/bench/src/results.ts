import type { Figures } from './goals.ts'
import type { Figure } from './workload.ts'

/** Bytes of V8’s heap, and of anonymous memory of the host, the heap among it. */
export interface MemoryUse {
  readonly heapBytes: number
  readonly hostBytes: number
}

/** What caches take. */
export interface MemoryResults {
  /** One more cache, with nothing mapped. */
  readonly startUp: MemoryUse
  readonly per1000Buckets: MemoryUse
  readonly per1000Locks: MemoryUse
  readonly per1000Handles: MemoryUse
}

/** What a run of the benchmarks found: the JSON that it prints. */
export interface Results {
  readonly node: string
  readonly cpu: string
  /** Each workload in a process of its own. */
  readonly workloads: Figures
  /** All of them in one process, in turn. Undefined where only some workloads were asked for, like the rest. */
  readonly mixed?: Figures
  readonly memory?: MemoryResults
  /** By curve, in order of `at`. */
  readonly growth?: Readonly<Record<string, readonly (Figure & { readonly at: number })[]>>
}
