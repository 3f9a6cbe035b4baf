import { MapCache, type MapCacheOptions } from '@xmc/core'
import {
  checkOptions,
  type GrantReference,
  InvalidArgumentError,
  type OptionNames,
  PAGE_SIZE,
} from '@xmc/interface'
import { GrantBackend, type GrantBackendOptions } from './grant-backend.ts'

/**
 * Bytes of the window to open for a guest's grants where nothing else is known: 256 MiB of address
 * space, 65,536 references at once.
 */
export const DEFAULT_WINDOW_BYTES: number = 2 ** 28

/**
 * Grants that stay mapped when nobody has locked them. Only for a front end that negotiated it: any
 * other takes a grant that is still mapped after its transfer for a fault of the device, and
 * Linux then refuses that device for ever.
 */
export interface PersistentGrants {
  /** Pages that may stay mapped; the least recently used go first. From 1 to 2^31 − 1. */
  readonly maximumPages: number
  /** How long a grant may stay mapped without use. Above 0 and below 2^31. */
  readonly idleMilliseconds: number
}

/** What {@link createGrantCache} makes a cache from: the backend's options and the cache's. */
export interface GrantCacheOptions
  extends GrantBackendOptions,
    Omit<
      MapCacheOptions<GrantReference, GrantBackend>,
      'backend' | 'retention' | 'translate' | 'rememberMissingMilliseconds'
    > {
  /** Keeps grants mapped between uses. Without it each is unmapped with its last lock. */
  readonly persistent?: PersistentGrants | undefined
}

const OPTIONS: OptionNames<GrantCacheOptions> = {
  table: true,
  domain: true,
  window: true,
  persistent: true,
  name: true,
  quarantineBytes: true,
  leakTracking: true,
}

/**
 * Makes a cache of the pages that one domain granted, by grant reference.
 *
 * A grant is unmapped when its last lock goes, unless `persistent` is given. Unlocked access goes by
 * grant copy. Consecutive references are `cache.map(first, offset, length)`, scattered ones
 * `cache.mapList(references)`. The window is the caller's, and stays open when the cache is closed.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an option out of range, missing, or that there is not
 */
export function createGrantCache(
  options: GrantCacheOptions,
): MapCache<GrantReference, GrantBackend> {
  checkOptions('createGrantCache', options, OPTIONS)
  const { table, domain, window, persistent, ...cacheOptions } = options
  const backend = new GrantBackend({ table, domain, window })
  if (persistent === undefined) return new MapCache({ ...cacheOptions, backend })
  checkOptions('persistent', persistent, { maximumPages: true, idleMilliseconds: true })
  const { maximumPages, idleMilliseconds } = persistent
  if (!Number.isInteger(maximumPages) || maximumPages < 1 || maximumPages >= 2 ** 31) {
    throw new InvalidArgumentError(
      'persistent.maximumPages',
      'an integer from 1 to 2147483647',
      maximumPages,
    )
  }
  if (!(idleMilliseconds > 0 && idleMilliseconds < 2 ** 31)) {
    throw new InvalidArgumentError(
      'persistent.idleMilliseconds',
      'a number above 0 and below 2^31',
      idleMilliseconds,
    )
  }
  const budgetBytes = maximumPages * PAGE_SIZE
  return new MapCache({
    ...cacheOptions,
    backend,
    retention: { kind: 'keep', budgetBytes, idleMilliseconds },
  })
}
