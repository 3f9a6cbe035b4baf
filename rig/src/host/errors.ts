import { XmcError } from '@xmc/interface'

/** `ERR_XMC_RIG`: the rig could not do its work; the message says what to look at. */
export class RigError extends XmcError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_XMC_RIG', message, options)
  }
}

/** `ERR_XMC_RIG_UNAVAILABLE`: this machine lacks what the rig needs, and the rig cannot fetch it. */
export class RigUnavailableError extends XmcError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_XMC_RIG_UNAVAILABLE', message, options)
  }
}

/** `ERR_XMC_INTERRUPTED`: a signal ended the run. */
export class InterruptedError extends XmcError {
  readonly signal: NodeJS.Signals

  constructor(signal: NodeJS.Signals) {
    super('ERR_XMC_INTERRUPTED', `interrupted by ${signal}`)
    this.signal = signal
  }
}
