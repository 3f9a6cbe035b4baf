import { type CaseResult, type ConsoleEvent, parseLine } from '../console/protocol.ts'
import type { EmulatorEnd } from './machine/emulator.ts'

/** How far a machine got. */
type Stage = 'booting' | 'running' | 'ended'

/** What became of a line of the console. */
export interface Reading {
  /** What a program or a kernel has printed, without an event that ended the line. */
  readonly text: string | undefined
  /** How far the machine had got when it was printed. */
  readonly stage: Stage
  /** The case whose result the line is. */
  readonly result: CaseResult | undefined
  /**
   * Whether the machine is further than it was. Once dom0's program runs, what it says is, and what kernels and Xen say
   * is not: one that hangs may complain about it for ever.
   */
  readonly isProgress: boolean
}

/** How lines of Xen, of guests through Xen, and of Linux begin. */
const notOfTheProgram = /^\((XEN|d\d+)\)|^\[ *\d+\.\d+\]/

/** Keeps what the console of one run says. */
export class RunRecord {
  readonly cases: CaseResult[] = []
  #stage: Stage = 'booting'
  #announced: number | undefined
  #torn = 0
  #exitCode: number | undefined
  #current: string | undefined

  /** Exit code of dom0's program; undefined when it did not end. */
  get exitCode(): number | undefined {
    return this.#exitCode
  }

  /** The case that is under way, as `suite/id`. */
  get current(): string | undefined {
    return this.#current
  }

  /** How far the machine got. */
  get stage(): Stage {
    return this.#stage
  }

  /** Takes the next line. */
  read(line: string): Reading {
    const stage = this.#stage
    const { text, event } = parseLine(line)
    if (event === 'torn') this.#torn += 1
    else if (event !== undefined) this.#take(event)
    return {
      text,
      stage,
      result: event !== 'torn' && event?.event === 'case' ? event.result : undefined,
      isProgress: event !== undefined || stage === 'booting' || !notOfTheProgram.test(text ?? ''),
    }
  }

  #take(event: ConsoleEvent): void {
    switch (event.event) {
      case 'started':
        this.#stage = 'running'
        break
      case 'begin':
        this.#current = `${event.suite}/${event.id}`
        break
      case 'case':
        this.#current = undefined
        this.cases.push(event.result)
        break
      case 'complete':
        this.#announced = event.cases
        break
      case 'exit':
        this.#stage = 'ended'
        this.#exitCode = event.code
        break
    }
  }

  /**
   * What went wrong beside failed cases, one sentence each.
   *
   * @param end how the emulator ended
   * @param expectCases whether the program was to report cases
   */
  problems(end: EmulatorEnd, limitSeconds: number | undefined, expectCases: boolean): string[] {
    const found: string[] = []
    if (end === 'limit') {
      found.push(`the emulator was killed after its limit of ${limitSeconds} seconds`)
    }
    if (this.#stage === 'booting') found.push('the machine did not get as far as dom0')
    else if (this.#exitCode === undefined) found.push("dom0's program did not end")
    if (this.#torn > 0) {
      found.push(`lines of results that something else on the console has torn: ${this.#torn}`)
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
