import { kindOfError, ReportLimiter } from '@xmc/interface'

/** A guest's or device model's reaction to an event; it may be asynchronous. */
export type Handler = () => void | Promise<void>

/** Is told of what a handler threw or rejected with. */
export type HandlerErrorListener = (error: unknown) => void

/** A guest can make a handler throw as often as it sends an event. */
const warnings = new ReportLimiter<unknown>((error, repeated) => {
  if (repeated === 0) process.emitWarning(error instanceof Error ? error : String(error))
  else process.emitWarning(`handlers threw ${repeated} times more, at last: ${String(error)}`)
})

/** The listener where none is given: a warning of the process, which ends nothing. */
export function warnOfHandlerError(error: unknown): void {
  warnings.report(kindOfError(error), error)
}

/** Calls `handler` and hands whatever goes wrong in it to `onError`, now or later. */
export function callHandler(handler: Handler, onError: HandlerErrorListener): void {
  try {
    const result = handler()
    if (result) result.catch(onError)
  } catch (error) {
    onError(error)
  }
}
