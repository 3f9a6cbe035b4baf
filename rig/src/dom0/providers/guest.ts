import type { Unavailable } from '@xmc/contract'
import { Guest } from '../guest.ts'
import { NO_MORTAL_LEFT, nextMortal } from '../mortal-guests.ts'

let shared: Promise<Guest> | undefined

/** A guest for one case of a contract. */
export interface CaseGuest {
  readonly guest: Guest
  /** Whether the case may destroy it. */
  readonly death: { destroy(): Promise<void> } | Unavailable
}

/**
 * A guest for a case: one of its own when it is to die, else the one that all share.
 *
 * @throws Error when every guest that may die has been taken
 */
export async function guestFor(contractCase: {
  readonly requires: readonly string[]
}): Promise<CaseGuest> {
  if (!contractCase.requires.includes('death')) {
    return { guest: await theGuest(), death: { unavailable: 'all cases share this guest' } }
  }
  const domain = nextMortal()
  if (domain === undefined) throw new Error(NO_MORTAL_LEFT)
  const guest = await Guest.connect(domain)
  return { guest, death: { destroy: () => guest.destroy() } }
}

/** The guest that lives as long as dom0, connected when it is first needed. */
function theGuest(): Promise<Guest> {
  shared ??= Guest.connect()
  return shared
}
