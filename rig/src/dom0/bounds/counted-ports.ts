import type { ForeignMemory } from '@xmc/foreign'
import type { GrantTable } from '@xmc/grants'
import type { GrantCopySegment } from '@xmc/interface'
import type { ForeignDevice, GrantDevice } from '@xmc/xen'

/** Calls of the hypervisor so far. */
export interface CallCounts {
  /** Maps that were asked for. */
  maps: number
  /** Grant copies. */
  copies: number
  /** Those of them that ask of a byte whether it can be read: somebody wants to know why a map was refused. */
  explanations: number
  /** Grant references that such copies ask of. */
  probes: number
}

/** Counts of nothing. */
export function noCalls(): CallCounts {
  return { maps: 0, copies: 0, explanations: 0, probes: 0 }
}

/** Real grants, counted. */
export function countedGrants(device: GrantDevice, counts: CallCounts): GrantTable {
  return {
    map(request) {
      counts.maps += 1
      device.map(request)
    },
    mapAsync(request) {
      counts.maps += 1
      return device.mapAsync(request)
    },
    unmap: (window, page, count) => device.unmap(window, page, count),
    unmapAsync: (window, page, count) => device.unmapAsync(window, page, count),
    setUnmapNotify: (window, page, notify) => device.setUnmapNotify(window, page, notify),
    copy(segments) {
      counts.copies += 1
      const probes = segments.filter(isProbe).length
      if (probes > 0) counts.explanations += 1
      counts.probes += probes
      return device.copy(segments)
    },
  }
}

/** Real foreign memory, counted. */
export function countedForeign(device: ForeignDevice, counts: CallCounts): ForeignMemory {
  return {
    map(request) {
      counts.maps += 1
      device.map(request)
    },
    mapAsync(request) {
      counts.maps += 1
      return device.mapAsync(request)
    },
    unmap: (window, page, count) => device.unmap(window, page, count),
  }
}

/** The device reads headers of 16 bytes, and stores single ones. */
function isProbe({ bytes, direction }: GrantCopySegment): boolean {
  return direction === 'from-grant' && bytes.length === 1
}
