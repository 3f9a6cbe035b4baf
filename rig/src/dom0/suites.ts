import { smoke } from './smoke.ts'
import type { Suite } from './suite.ts'

/** Every suite that runs in dom0, in the order in which they do. */
export const suites: readonly Suite[] = [smoke]
