import { MapCache, type MapCacheOptions } from '@xmc/core'
import { checkOptions, type GuestFrame, type OptionNames } from '@xmc/interface'
import { ForeignBackend, type ForeignBackendOptions } from './foreign-backend.ts'

/** What {@link createForeignCache} makes a cache from: the backend's options and the cache's. */
export interface ForeignCacheOptions
  extends ForeignBackendOptions,
    Omit<MapCacheOptions<GuestFrame, ForeignBackend>, 'backend'> {}

const OPTIONS: OptionNames<ForeignCacheOptions> = {
  memory: true,
  domain: true,
  window: true,
  bucketShift: true,
  access: true,
  name: true,
  retention: true,
  quarantineBytes: true,
  translate: true,
  rememberMissingMilliseconds: true,
  leakTracking: true,
}

/**
 * Makes a cache of one domain's memory, by guest frame.
 *
 * Mappings stay when nobody has locked them, least recently used first to go, up to a budget of
 * 1 GiB unless `retention` says otherwise. The window is the caller's, and stays open when the cache
 * is closed.
 *
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for an option out of range, missing, or that there is not
 */
export function createForeignCache(
  options: ForeignCacheOptions,
): MapCache<GuestFrame, ForeignBackend> {
  checkOptions('createForeignCache', options, OPTIONS)
  const { memory, domain, window, bucketShift, access, ...cacheOptions } = options
  const backend = new ForeignBackend({ memory, domain, window, bucketShift, access })
  return new MapCache({ ...cacheOptions, backend })
}
