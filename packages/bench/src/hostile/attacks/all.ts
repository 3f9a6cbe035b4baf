import type { Attack } from '../attack.ts'
import { areas } from './areas.ts'
import { invalidation } from './invalidation.ts'
import { logLines } from './log-lines.ts'
import { badAfterLarge, badBuffers, badLastPage, goodBuffers, waiters } from './many-buffers.ts'
import { parts } from './parts.ts'
import { resetThatWaits } from './reset-that-waits.ts'
import { emergencyWrites, transmitAndReset } from './streams.ts'

/** Every attack, in the order of the table. */
export const attacks: readonly Attack[] = [
  areas,
  badBuffers,
  goodBuffers,
  badAfterLarge,
  badLastPage,
  waiters,
  parts,
  emergencyWrites,
  transmitAndReset,
  invalidation,
  logLines,
  resetThatWaits,
]
