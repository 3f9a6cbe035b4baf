import { domainId } from '@xmc/interface'
import { Hypervisor } from '@xmc/xen'

/** Guests that a case may end, one each, as far as they were started. They are like the first. */
const mortals = [2, 3, 4, 5, 6, 7, 8]

/** What is to be said where {@link nextMortal} has none. */
export const NO_MORTAL_LEFT = 'no guest is left that may end: start more, with --guests'

/** The next guest that a case may end; undefined when none is left. */
export function nextMortal(): number | undefined {
  using xen = new Hypervisor()
  using domains = xen.domains()
  for (let domain = mortals.shift(); domain !== undefined; domain = mortals.shift()) {
    const information = domains.information(domainId(domain))
    if (information?.shutdownCode === undefined && information?.dying === false) return domain
  }
  return undefined
}
