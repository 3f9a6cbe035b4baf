import { constants } from 'node:os'
import { PAGE_SIZE, SystemCallError, type TargetWindow, windowPage } from '@xmc/interface'
import type { CallReport } from '../accounting.ts'
import type { FaultSite, InjectedFault } from '../faults.ts'
import type { PagingRetry, Parts } from './parts.ts'
import { forEachRun } from './ranges.ts'

/**
 * Runs one call at a port: counts it, asks for a fault, and logs how it ended. `action` gets the fault,
 * if one is to be injected, and returns how many pages failed.
 */
export function portCall(
  parts: Parts,
  call: Omit<CallReport, 'errno' | 'failedPages'>,
  action: (fault: InjectedFault | undefined) => number,
): void {
  parts.accounting.count(call.site, call.pageCount)
  const fault = parts.faults.next(call.site, call.pageCount)
  let failedPages: number
  try {
    failedPages = action(fault)
  } catch (error) {
    const errno = error instanceof SystemCallError ? error.errno : constants.errno.EIO
    parts.accounting.called(call, errno, call.pageCount)
    throw error
  }
  parts.accounting.called(call, 0, failedPages)
}

/** The error of an injected fault that hits a whole call. */
export function injectedError(call: string, fault: InjectedFault): SystemCallError {
  const detail = `injected fault ${fault.rule}, call ${fault.call} at ${fault.site}`
  return new SystemCallError(call, fault.errno, detail)
}

/**
 * Maps machine pages into a window, one call for each stretch of consecutive ones. Where `machines` is
 * negative the page is left as it is. When a call fails, the earlier ones stay.
 */
export function mapMachinePages(
  parts: Parts,
  window: TargetWindow,
  page: number,
  machines: Float64Array,
  writable: boolean,
): void {
  forEachRun(machines, machines.length, (index, machine, length) => {
    guard(parts, 'window.map', 'mmap', length)
    window.map(windowPage(page + index), length, parts.machine.fd, machine * PAGE_SIZE, writable)
  })
}

/** Puts anonymous pages where `machines` is negative, one call for each stretch. */
export function resetMissing(window: TargetWindow, page: number, machines: Float64Array): void {
  let start = 0
  while (start < machines.length) {
    let end = start
    while (end < machines.length && (machines[end] ?? -1) < 0) end++
    if (end > start) window.reset(windowPage(page + start), end - start)
    start = end + 1
  }
}

/** Puts anonymous pages in place for an unmap. */
export function resetPages(
  parts: Parts,
  window: TargetWindow,
  page: number,
  pageCount: number,
): void {
  guard(parts, 'window.reset', 'mmap', pageCount)
  window.reset(windowPage(page), pageCount)
}

/** The errno of an error that the ports throw, or 0. */
export function errnoOfError(error: unknown): number {
  return error instanceof SystemCallError ? error.errno : 0
}

/**
 * Calls `attempt` in a later turn of the event loop, and again by timers as long as it returns false.
 * The last call is told so; it returns true or throws.
 */
export async function retryPagedOut(
  { intervalMilliseconds, attempts }: PagingRetry,
  attempt: (last: boolean) => boolean,
): Promise<void> {
  await laterTurn()
  for (let retry = 1; !attempt(retry > attempts); retry++) {
    // oxlint-disable-next-line no-await-in-loop -- the page may come in during the pause
    await pause(intervalMilliseconds * retry)
  }
}

/** Resolves in a later turn of the event loop, as the answer of another thread would come. */
export function laterTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds)
  })
}

function guard(parts: Parts, site: FaultSite, call: string, pageCount: number): void {
  parts.accounting.count(site, pageCount)
  const fault = parts.faults.next(site, pageCount)
  if (fault !== undefined) throw injectedError(call, fault)
}
