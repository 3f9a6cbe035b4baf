/** What a driver has done since it was made, resets included. */
export interface DriverStatistics {
  /** Requests that were made available to the device. */
  requests: number
  /** Requests that the device completed, with whatever result. */
  completions: number
  /** Requests that ended with an error of the device. */
  errors: number
  /** Data bytes that the device has written into buffers. */
  bytesRead: number
  /** Data bytes that the device has taken from buffers. */
  bytesWritten: number
  /** Interrupts that arrived. */
  interrupts: number
  /** Interrupts with an InterruptStatus of 0. */
  spuriousInterrupts: number
  /** Writes of QueueNotify. */
  notifies: number
  /** Times that new requests needed no QueueNotify, because the device had asked for none. */
  suppressedNotifies: number
  /** Chains that went through an indirect descriptor table. */
  indirectChains: number
  /** Times that a request had to wait for descriptors or addresses. */
  waits: number
  /** Resets of the device that were done. */
  resets: number
}

/** Statistics with everything at 0. */
export function newStatistics(): DriverStatistics {
  return {
    requests: 0,
    completions: 0,
    errors: 0,
    bytesRead: 0,
    bytesWritten: 0,
    interrupts: 0,
    spuriousInterrupts: 0,
    notifies: 0,
    suppressedNotifies: 0,
    indirectChains: 0,
    waits: 0,
    resets: 0,
  }
}
