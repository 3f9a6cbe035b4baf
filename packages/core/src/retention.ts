import { checkOptions, InvalidArgumentError } from '@xmc/interface'

/**
 * How long a mapping that nobody has locked stays.
 *
 * - `at-once`: it is unmapped with its last lock. An access without a lock keeps its bucket only
 *   until another bucket of its class takes the place, as in the original since 2024. Unlike there, a
 *   mapping that is locked during a full invalidation serves nobody new afterwards: it may show what the guest
 *   had before. Where locks outlast invalidations that costs map calls: 31 to 66 % more than the original makes
 *   on traces of its own runs.
 * - `keep`: it stays, least recently used first to go, while no more than `budgetBytes` (rounded up
 *   to whole buckets) are mapped. If `idleMilliseconds` is given, it goes when it was not used for that
 *   long, which is noticed up to half that time later.
 *   Locked mappings may exceed the budget. Uses between two misses count as simultaneous.
 */
export type Retention =
  | { readonly kind: 'at-once' }
  | {
      readonly kind: 'keep'
      readonly budgetBytes: number
      readonly idleMilliseconds?: number | undefined
    }

/** What a cache over memory that is not pinned does by default: keep up to 1 GiB. */
export const DEFAULT_BUDGET_BYTES: number = 2 ** 30

const OPTIONS = { kind: true, budgetBytes: true, idleMilliseconds: true } as const

/**
 * Checks a retention: the budget is a positive safe integer, the idle time a positive number.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`
 */
export function checkRetention(retention: Retention): Retention {
  checkOptions('retention', retention, OPTIONS)
  if (retention.kind === 'at-once') return retention
  const { budgetBytes, idleMilliseconds } = retention
  if (!Number.isSafeInteger(budgetBytes) || budgetBytes <= 0) {
    throw new InvalidArgumentError('retention.budgetBytes', 'a positive safe integer', budgetBytes)
  }
  if (idleMilliseconds !== undefined && !(idleMilliseconds > 0 && idleMilliseconds < 2 ** 31)) {
    throw new InvalidArgumentError(
      'retention.idleMilliseconds',
      'a number above 0 and below 2^31',
      idleMilliseconds,
    )
  }
  return retention
}
