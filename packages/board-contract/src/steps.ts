import assert from 'node:assert/strict'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { type EventChannel, type IoRequest, IoreqPage, type IoreqServer } from '@xmc/arm-virt'
import { available, type ContractCase } from '@xmc/contract'
import type { GuestControl, HypervisorProvider } from './provider.ts'

/** A case of the contract of `Hypervisor`. */
export type HypervisorCase = ContractCase<HypervisorProvider>

/** Where the device model under test answers: the transports of the address map. */
export const BASE = 0x0200_0000n

/** Turns of the event loop that may pass before something has happened. */
const TURNS = 1000

/** And then waits of some milliseconds each. */
const WAITS = 6000
const WAIT_MILLISECONDS = 10

/** A device model as small as can be: it keeps every request, and answers reads with one value. */
export class Recorder {
  readonly server: IoreqServer
  readonly requests: { readonly virtualCpu: number; readonly request: IoRequest }[] = []
  /** Calls of listeners, spurious ones too. */
  wakes = 0
  readonly #page: IoreqPage
  readonly #channels: EventChannel[] = []
  readonly #answer: readonly [low: number, high: number]

  constructor(provider: HypervisorProvider, answer: readonly [number, number] = [0, 0]) {
    this.server = provider.hypervisor.createIoreqServer()
    this.#page = new IoreqPage(this.server.page)
    this.#answer = answer
  }

  /** Serves `first` to `last` for all virtual CPUs, enabled. */
  start(provider: HypervisorProvider, first: bigint = BASE, last: bigint = BASE + 0xfffn): void {
    this.server.mapRange(first, last)
    this.bind(provider.hypervisor.virtualCpus)
    this.server.enable()
  }

  bind(virtualCpus: number): void {
    for (let virtualCpu = 0; virtualCpu < virtualCpus; virtualCpu++) {
      this.#channels.push(this.server.bind(virtualCpu, () => this.#serve(virtualCpu)))
    }
  }

  close(): void {
    for (const channel of this.#channels) channel.close()
    this.server.close()
  }

  #serve(virtualCpu: number): void {
    this.wakes += 1
    const request = this.#page.take(virtualCpu)
    if (request === undefined) return
    this.requests.push({ virtualCpu, request })
    if (request.read) this.#page.setData(virtualCpu, ...this.#answer)
    this.#page.complete(virtualCpu)
    this.#channels[virtualCpu]?.notify()
  }
}

/** The guest of a provider that has one which does as it is told. */
export function guestOf(provider: HypervisorProvider): GuestControl {
  return available(provider.capabilities.guest)
}

/** Waits until `done` is true: turns of the event loop first, then, for what another domain does, time. */
export async function until(what: string, done: () => boolean): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) {
    if (done()) return
    await setImmediate()
  }
  for (let wait = 0; wait < WAITS; wait++) {
    if (done()) return
    await setTimeout(WAIT_MILLISECONDS)
  }
  assert.fail(`${what} did not happen within ${(WAITS * WAIT_MILLISECONDS) / 1000} s`)
}

/** Lets whatever is due happen. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await setImmediate()
}

/** That `call` is refused with an errno. */
export function assertRefused(call: () => unknown, errnoName: string): void {
  assert.throws(call, { code: 'ERR_XMC_SYSTEM_CALL', errnoName })
}
