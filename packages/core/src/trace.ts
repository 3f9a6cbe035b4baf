import { type Channel, channel } from 'node:diagnostics_channel'

/**
 * The trace channels of `node:diagnostics_channel`, under the names of the original's trace events.
 * A message is a plain object; `cache` is the name of the cache. Nothing is built while nobody
 * listens.
 *
 * | channel | message |
 * |---|---|
 * | `xen_map_cache_init` | `cache`, `buckets`, `bytes` of the window |
 * | `xen_map_cache` | `cache`, `page`, `offset`: a locked map was asked for, or an access missed |
 * | `xen_map_cache_return` | `cache`, `windowPage`, `offset`: what it was answered with |
 * | `xen_remap_bucket` | `cache`, `index`, `pages`: a bucket is about to be mapped |
 * | `xen_ram_addr_from_mapcache_not_found` | `cache`, `windowPage` |
 * | `xen_ram_addr_from_mapcache_found` | `cache`, `page`, `windowPage`, `offset`, `locks`: after a miss, each lock there is |
 * | `xen_ram_addr_from_mapcache_not_in_cache` | `group`: no cache of a group knows the pointer |
 * | `xen_invalidate_map_cache_entry_unlocked_not_found` | `cache`, `windowPage`, `offset` |
 * | `xen_invalidate_map_cache_entry_unlocked_found` | `cache`, `page`, `windowPage`, `offset`, `locks`: after a miss, each lock there is |
 * | `xen_invalidate_map_cache_entry_unlocked_miss` | `group`: no cache of a group knows the pointer |
 * | `xen_invalidate_map_cache` | `cache`, `page`, `windowPage`, `offset`, `user`: a DMA lock is outstanding |
 * | `xen_replace_cache_entry_dummy` | `cache`, `oldPage`, `newPage` |
 * | `xen_replace_cache_entry_unlocked` | `cache`, `oldPage`: nothing is mapped there |
 * | `xen_replace_cache_entry_unlocked_could_not_update_entry` | `cache`, `oldPage` |
 * | `xmc_leak` | `cache`, `page`, `offset`, `length`, `stack`: a handle was lost without release |
 * | `xmc_unmap_failed` | `cache`, `windowPage`, `pageCount`, `error` |
 */
export const traceChannels: {
  readonly init: Channel
  readonly map: Channel
  readonly mapReturn: Channel
  readonly remapBucket: Channel
  readonly addressNotFound: Channel
  readonly addressFound: Channel
  readonly addressNotInCache: Channel
  readonly invalidateNotFound: Channel
  readonly invalidateFound: Channel
  readonly invalidateMiss: Channel
  readonly invalidateAll: Channel
  readonly replaceDummy: Channel
  readonly replaceMiss: Channel
  readonly replaceFailed: Channel
  readonly leak: Channel
  readonly unmapFailed: Channel
} = {
  init: channel('xen_map_cache_init'),
  map: channel('xen_map_cache'),
  mapReturn: channel('xen_map_cache_return'),
  remapBucket: channel('xen_remap_bucket'),
  addressNotFound: channel('xen_ram_addr_from_mapcache_not_found'),
  addressFound: channel('xen_ram_addr_from_mapcache_found'),
  addressNotInCache: channel('xen_ram_addr_from_mapcache_not_in_cache'),
  invalidateNotFound: channel('xen_invalidate_map_cache_entry_unlocked_not_found'),
  invalidateFound: channel('xen_invalidate_map_cache_entry_unlocked_found'),
  invalidateMiss: channel('xen_invalidate_map_cache_entry_unlocked_miss'),
  invalidateAll: channel('xen_invalidate_map_cache'),
  replaceDummy: channel('xen_replace_cache_entry_dummy'),
  replaceMiss: channel('xen_replace_cache_entry_unlocked'),
  replaceFailed: channel('xen_replace_cache_entry_unlocked_could_not_update_entry'),
  leak: channel('xmc_leak'),
  unmapFailed: channel('xmc_unmap_failed'),
}
