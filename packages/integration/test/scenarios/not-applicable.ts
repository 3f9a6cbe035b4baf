/** A scenario of the reference, or a part of one, that does not apply here. */
export interface NotApplicable {
  /** Scenario, as `S79`. */
  readonly id: string
  /** Which part; the rest of the scenario has a test. Absent when none of it applies. */
  readonly part?: string
  readonly reason: string
}

/** At most 8; `every-scenario.test.ts` holds the list against the tests. */
export const notApplicable: readonly NotApplicable[] = [
  {
    id: 'S79',
    part: 'references 16383 and 16384 of a grant table of version 2',
    reason:
      'the simulator has grant tables of version 1, all that Xen gives a guest on Arm unless it is told otherwise; a change to version 2 is refused as by such a Xen',
  },
]
