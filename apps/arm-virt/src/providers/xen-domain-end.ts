import type { DomainInformation } from '@xmc/xen'
import type { DomainEnd } from '../hypervisor.ts'

/** `SHUTDOWN_crash` and `SHUTDOWN_watchdog` of Xen's public `sched.h`. */
const CRASHES: ReadonlySet<number> = new Set([3, 4])

/**
 * How a domain ended, by what Xen knows of it; undefined while it runs or is paused. A domain that has shut down stays, with
 * its code, until somebody destroys it.
 */
export function endOf(information: DomainInformation | undefined): DomainEnd | undefined {
  if (information === undefined) return 'destroyed'
  const { shutdownCode, dying } = information
  if (shutdownCode !== undefined) return CRASHES.has(shutdownCode) ? 'crashed' : 'shutdown'
  return dying ? 'destroyed' : undefined
}
