import type { Figure } from './workload.ts'

/** How much a figure may be. */
export interface Goal {
  readonly id: string
  /** What is limited, in words. */
  readonly text: string
  /** The figure that counts. */
  readonly value: (figures: Figures) => number
  readonly most: number
}

/** Figures by workload. */
export type Figures = Readonly<Record<string, Figure>>

/** What the project holds itself to. */
export const goals: readonly Goal[] = [
  ratioGoal('W1', 1.5),
  ratioGoal('W2b', 2),
  ratioGoal('W3', 4),
  ratioGoal('W3h', 4),
  ...['W4', 'W5'].map((id) => flatGoal(`${id}_16384`, `${id}_64`, 1.5)),
  ...['W6_1', 'W6_16', 'W6_256', 'W7'].map((id) => ratioGoal(id, 1.25)),
  flatGoal('W8', 'W8_16', 1.5),
  { id: 'INV0', text: 'INV0 ≤ 1,000 ns', value: (figures) => of(figures, 'INV0').ns, most: 1000 },
  {
    id: 'INV1000',
    text: 'INV1000 ≤ 12 × INV100',
    value: (figures) => of(figures, 'INV1000').ns / of(figures, 'INV100').ns,
    most: 12,
  },
  ratioGoal('AS1', 3),
  ratioGoal('DMA1', 30),
  // 60 % and 80 % of the rate of fs alone.
  ratioGoal('BLK4K', 1 / 0.6),
  ratioGoal('BLK1M', 1 / 0.8),
  ...['W3_handle', 'W3h_handle', 'W4_1024_handle', 'W5_1024_handle'].map((id) => ratioGoal(id, 25)),
]

/** The most that a figure of the mixed run may be, in multiples of the figure by itself. */
export const MIXED_MOST = 3.5

function ratioGoal(id: string, most: number): Goal {
  const text = `${id} ≤ ${Number(most.toFixed(2))} × its limit`
  return { id, text, value: (figures) => of(figures, id).ratio, most }
}

function flatGoal(id: string, base: string, most: number): Goal {
  const value = (figures: Figures): number => of(figures, id).ns / of(figures, base).ns
  return { id, text: `${id} ≤ ${most} × ${base}`, value, most }
}

function of(figures: Figures, id: string): Figure {
  const figure = figures[id]
  if (figure === undefined) throw new Error(`${id} was not measured`)
  return figure
}
