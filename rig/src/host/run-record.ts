import { type CaseResult, parseEvent } from '../console/protocol.ts'
import type { EmulatorEnd } from './emulator.ts'

/** How far a machine got. */
type Stage = 'booting' | 'running' | 'ended'

/** What became of a line of the console. */
export type Reading =
  | { readonly kind: 'text'; readonly stage: Stage }
  | { readonly kind: 'case'; readonly result: CaseResult }
  | { readonly kind: 'event' }

/** Keeps what the console of one run says. */
export class RunRecord {
  readonly cases: CaseResult[] = []
  #stage: Stage = 'booting'
  #announced: number | undefined
  #torn = 0
  #exitCode: number | undefined

  /** Exit code of dom0's program; undefined when it did not end. */
  get exitCode(): number | undefined {
    return this.#exitCode
  }

  /** How far the machine got. */
  get stage(): Stage {
    return this.#stage
  }

  /** Takes the next line. */
  read(line: string): Reading {
    const event = parseEvent(line)
    if (event === undefined) return { kind: 'text', stage: this.#stage }
    if (event === 'torn') {
      this.#torn += 1
      return { kind: 'event' }
    }
    switch (event.event) {
      case 'started':
        this.#stage = 'running'
        break
      case 'case': {
        const { event: _, ...result } = event
        this.cases.push(result)
        return { kind: 'case', result }
      }
      case 'complete':
        this.#announced = event.cases
        break
      case 'exit':
        this.#stage = 'ended'
        this.#exitCode = event.code
        break
    }
    return { kind: 'event' }
  }

  /**
   * What went wrong beside failed cases, one sentence each.
   *
   * @param end how the emulator ended
   * @param expectCases whether the program was to report cases
   */
  problems(end: EmulatorEnd, limitSeconds: number, expectCases: boolean): string[] {
    const found: string[] = []
    if (end === 'limit') {
      found.push(`the emulator was killed after its limit of ${limitSeconds} seconds`)
    }
    if (this.#stage === 'booting') found.push('the machine did not get as far as dom0')
    else if (this.#exitCode === undefined) found.push("dom0's program did not end")
    if (this.#torn > 0) {
      found.push(`${this.#torn} lines of results were torn by something else on the console`)
    }
    if (expectCases && this.#exitCode !== undefined) {
      if (this.#announced === undefined) {
        found.push("dom0's program ended before it had reported all of its cases")
      } else if (this.#announced !== this.cases.length) {
        found.push(`${this.cases.length} of ${this.#announced} results reached the host`)
      } else if (this.#announced === 0) {
        found.push('no case was run')
      }
    }
    return found
  }
}
