import { checkOptions, countOf, type OptionNames } from '@xmc/interface'
import { MAX_GRANT_FRAMES } from '@xmc/memory-region'
import { BlockDevice, type BlockRequestError } from '@xmc/virtio'
import { Board, type BoardStatistics } from './board.ts'
import type { Addressing } from './configuration.ts'
import { type DiskOpener, type OpenDisk, openDisks } from './disk-files.ts'
import { InterruptedError, LeftoversError } from './errors.ts'
import type { DomainEnd, Hypervisor, HypervisorUsage } from './hypervisor.ts'
import { noteWindows } from './job.ts'
import { XenHypervisor } from './providers/xen-hypervisor.ts'

/** Which domain is to be served, with what. */
export interface ServeDomainOptions {
  /** The domain, 1 to 32,751. */
  readonly domain: number
  /** Images, one for each transport, in the order of the slots; 1 to 11. */
  readonly disks: readonly string[]
  /** What the guest sees as serial number of each, up to 20 ASCII characters; none by default. */
  readonly serials?: readonly string[] | undefined
  /** Whether the guest may only read them; false by default. */
  readonly readOnly?: boolean | undefined
  /** How the guest addresses memory; `grants` by default. */
  readonly addressing?: Addressing | undefined
  /** Elements of a disk's queue, a power of 2 from 4 to 32,768; 256 by default. */
  readonly queueSize?: number | undefined
  /** Most requests that a disk works on at a time, 1 up to the size of its queue, which is the default. */
  readonly inFlight?: number | undefined
  /** Ends the serving, which is no error. */
  readonly signal?: AbortSignal | undefined
  /** Opens disks; as files by default. */
  readonly openDisk?: DiskOpener | undefined
  /**
   * Is told what the user may want to know: that the guest can come, what went wrong. Of what the guest can cause, the first 5
   * of a kind and disk, and then once in 10 s how many there were.
   */
  readonly onNotice?: ((text: string) => void) | undefined
  /**
   * Is given what looks at the sizes of the disks again and tells the guest, to be called when one has changed; returns what
   * takes it away.
   */
  readonly onServing?: ((resized: () => void) => () => void) | undefined
  /** Attaches to the domain; through real Xen by default. It is closed at the end. */
  readonly attach?: ((domain: number) => Hypervisor) | undefined
}

/** Why the serving ended: how the guest did, or by which signal it was told to. */
export type ServingEnd = DomainEnd | NodeJS.Signals | 'aborted'

/** What was served, and what it cost. */
export interface ServeDomainSummary {
  readonly domain: number
  readonly end: ServingEnd
  /** RAM of the guest that was found. */
  readonly ram: readonly { readonly address: string; readonly bytes: number }[]
  readonly virtualCpus: number
  readonly disks: readonly {
    readonly path: string
    readonly readOnly: boolean
    /** Requests that were answered, of any kind. */
    readonly requests: number
  }[]
  /** Seconds from the first moment that the guest could come, to the end. */
  readonly seconds: number
  /** The board's counts at the end. */
  readonly board: BoardStatistics
  /** What is still in use of the guest, which is nothing, and the calls that mapped, unmapped or copied its memory. */
  readonly usage: HypervisorUsage
}

const OPTIONS: OptionNames<ServeDomainOptions> = {
  domain: true,
  disks: true,
  serials: true,
  readOnly: true,
  addressing: true,
  queueSize: true,
  inFlight: true,
  signal: true,
  openDisk: true,
  onNotice: true,
  onServing: true,
  attach: true,
}

/**
 * Serves disks to a domain of real Xen, as its device model, until the domain ends or the signal aborts. Then everything
 * is unmapped, unbound and closed.
 *
 * @throws DomainUnavailableError `ERR_XMC_DOMAIN_UNAVAILABLE`, XenUnavailableError `ERR_XMC_XEN_UNAVAILABLE`, SystemCallError
 * `ERR_XMC_SYSTEM_CALL` (`ENOSYS` for a Xen without ioreq servers): it cannot be served
 * @throws DiskError `ERR_XMC_DISK`, SameFileError `ERR_XMC_SAME_FILE`, TooManyDevicesError `ERR_XMC_TOO_MANY_DEVICES`, InvalidArgumentError `ERR_XMC_ARGUMENT`
 * @throws LeftoversError `ERR_XMC_LEFTOVERS` when something of the guest was still mapped or bound at the end
 */
export async function serveDomain(options: ServeDomainOptions): Promise<ServeDomainSummary> {
  checkOptions('serveDomain', options, OPTIONS)
  const { domain, openDisk, readOnly = false, serials } = options
  const disks = await openDisks(options.disks, { readOnly, serials }, openDisk)
  try {
    const attach = options.attach ?? attachToXen(options.onNotice)
    const hypervisor = attach(domain)
    try {
      return await serveWith(hypervisor, disks, options)
    } finally {
      hypervisor.close()
    }
  } finally {
    for (const disk of disks) await disk.close()
  }
}

async function serveWith(
  hypervisor: Hypervisor,
  disks: readonly OpenDisk[],
  options: ServeDomainOptions,
): Promise<ServeDomainSummary> {
  const { addressing = 'grants', queueSize = 256, inFlight, onNotice, readOnly = false } = options
  const { domain, virtualCpus } = hypervisor
  const tell = (where: string, { message }: Error, repeated: number): void =>
    onNotice?.(`${where}: ${message}${repeated === 0 ? '' : ` (the last of ${repeated} like it)`}`)
  const devices = disks.map((disk, slot) => {
    const onError = (error: BlockRequestError, repeated: number): void =>
      tell(`slot ${slot}`, error, repeated)
    return new BlockDevice({ disk, queueSize, inFlight, onError })
  })
  const board = Board.open(hypervisor, {
    devices,
    addressing,
    // The hypervisor refuses references that the guest does not have.
    grantFrames: MAX_GRANT_FRAMES,
    onFault: ({ slot, error }, repeated) =>
      tell(slot === undefined ? 'board' : `slot ${slot}`, error, repeated),
  })
  const lookAtSizes = (): void => {
    for (const [slot, device] of devices.entries()) {
      try {
        device.resized()
      } catch (error) {
        tell(`slot ${slot}`, error instanceof Error ? error : new Error(String(error)), 0)
      }
    }
  }
  const started = performance.now()
  let end: ServingEnd
  let unsubscribe: (() => void) | undefined
  try {
    noteWindows(board, onNotice)
    onNotice?.(`serving ${countOf(disks.length, 'disk')} to domain ${domain}, ${addressing}`)
    unsubscribe = options.onServing?.(lookAtSizes)
    end = await endOfServing(hypervisor, options.signal)
  } finally {
    unsubscribe?.()
    await board.close()
    for (const device of devices) device.flushReports()
  }
  const leftovers = hypervisor.leftovers()
  if (leftovers.length > 0) throw new LeftoversError(leftovers)
  return {
    domain,
    end,
    ram: hypervisor.ram.map(({ address, size }) => ({
      address: `0x${address.toString(16)}`,
      bytes: Number(size),
    })),
    virtualCpus,
    disks: devices.map(({ statistics }, slot) => ({
      path: options.disks[slot] ?? '',
      readOnly,
      requests: statistics.requests,
    })),
    seconds: (performance.now() - started) / 1000,
    board: board.statistics,
    usage: hypervisor.usage,
  }
}

function endOfServing(
  hypervisor: Hypervisor,
  signal: AbortSignal | undefined,
): Promise<ServingEnd> {
  return new Promise((resolve) => {
    const finish = (end: ServingEnd): void => {
      unsubscribe()
      signal?.removeEventListener('abort', onAbort)
      resolve(end)
    }
    const onAbort = (): void => {
      const reason: unknown = signal?.reason
      finish(reason instanceof InterruptedError ? reason.signal : 'aborted')
    }
    const unsubscribe = hypervisor.onEnd(finish)
    if (signal?.aborted === true) onAbort()
    else signal?.addEventListener('abort', onAbort)
  })
}

function attachToXen(
  onNotice: ((text: string) => void) | undefined,
): (domain: number) => Hypervisor {
  return (domain) => {
    const hypervisor = XenHypervisor.attach(domain, {
      onError: (error, repeated) => {
        const message = error instanceof Error ? error.message : String(error)
        onNotice?.(repeated === 0 ? message : `${message} (the last of ${repeated} like it)`)
      },
    })
    if (hypervisor.adopts) {
      onNotice?.(
        `took over the ioreq server of a process that was killed: have the guest's driver bind its disk again`,
      )
    }
    return hypervisor
  }
}
