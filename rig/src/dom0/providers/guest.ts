import { Guest } from '../guest.ts'

let connected: Promise<Guest> | undefined

/** The rig's guest, connected when it is first needed. */
export function theGuest(): Promise<Guest> {
  connected ??= Guest.connect()
  return connected
}
