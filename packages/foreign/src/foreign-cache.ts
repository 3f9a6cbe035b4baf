import { MapCache, type MapCacheOptions } from '@xmc/core'
import { ForeignBackend, type ForeignBackendOptions } from './foreign-backend.ts'
import type { GuestFrame } from './guest-frame.ts'

/** What {@link createForeignCache} makes a cache from: the backend's options and the cache's. */
export interface ForeignCacheOptions
  extends ForeignBackendOptions,
    Omit<MapCacheOptions<GuestFrame, ForeignBackend>, 'backend'> {}

/**
 * Makes a cache of one domain's memory, by guest frame.
 *
 * Mappings stay when nobody has locked them, least recently used first to go, up to a budget of
 * 1 GiB unless `retention` says otherwise. The window is the caller's, and stays open when the cache
 * is closed.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an option out of range
 */
export function createForeignCache(
  options: ForeignCacheOptions,
): MapCache<GuestFrame, ForeignBackend> {
  const { memory, domain, window, bucketShift, access, ...cacheOptions } = options
  const backend = new ForeignBackend({ memory, domain, window, bucketShift, access })
  return new MapCache({ ...cacheOptions, backend })
}
