import { requestNumber } from './layout.ts'

/** The device of event channels. */
export const EVTCHN_PATH = '/dev/xen/evtchn'

/** `IOCTL_EVTCHN_BIND_INTERDOMAIN`: returns a local port that is connected with a remote one. */
export const BIND_INTERDOMAIN: number = requestNumber('E', 1, 8)

/** `IOCTL_EVTCHN_BIND_UNBOUND_PORT`: returns a local port that a domain may bind to. */
export const BIND_UNBOUND_PORT: number = requestNumber('E', 2, 4)

/** `IOCTL_EVTCHN_UNBIND`: closes a local port. */
export const UNBIND: number = requestNumber('E', 3, 4)

/** `IOCTL_EVTCHN_NOTIFY`: signals the other end of a local port. */
export const NOTIFY: number = requestNumber('E', 4, 4)

/** Any of the structures above: one or two unsigned 32-bit integers. */
export function words(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length)
  const view = new DataView(bytes.buffer)
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value, true)
  return bytes
}
