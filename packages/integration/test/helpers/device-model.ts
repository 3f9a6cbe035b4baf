import { completeIoreq, IOREQ_TYPE, readIoreq, takeIoreq } from '@xmc/interface'
import type { Domain, Hypervisor } from '@xmc/sim'

/** A device model in the control domain that does nothing but answer invalidations. */
export interface InvalidationModel<Result> extends Disposable {
  /** Resolves with what `invalidate` returned when Xen has asked for the first time, and has its answer. */
  readonly answered: Promise<Result>
}

/** Serves a guest's `IOREQ_TYPE_INVALIDATE` requests, which Xen sends when the guest's memory changes. */
export function answerInvalidations<Result>(
  hypervisor: Hypervisor,
  guest: Domain,
  invalidate: () => Promise<Result>,
): InvalidationModel<Result> {
  const { eventChannels, control } = hypervisor
  const server = guest.ioreq.create(control.id)
  const offered = readIoreq(server.page, 0).eventChannel
  const port = eventChannels.bindInterdomain(control.id, guest.id, offered)
  const answered = new Promise<Result>((resolve, reject) => {
    const answer = async (): Promise<void> => {
      const request = takeIoreq(server.page, 0)
      if (request?.type !== IOREQ_TYPE.invalidate) return
      const result = await invalidate()
      completeIoreq(server.page, 0)
      eventChannels.send(control.id, port)
      resolve(result)
    }
    eventChannels.setHandler(control.id, port, () => {
      answer().catch(reject)
    })
  })
  server.enable()
  return {
    answered,
    [Symbol.dispose]() {
      eventChannels.close(control.id, port)
      server.destroy()
    },
  }
}
