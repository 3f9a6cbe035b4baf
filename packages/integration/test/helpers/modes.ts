import type { Retention } from '@xmc/core'

/** How a cache treats what nobody has locked; options of a `ForeignWorld`. */
export interface Mode {
  readonly retention: Retention | undefined
}

/** Strict mode unmaps as the original does. */
export const STRICT: Mode = { retention: { kind: 'at-once' } }

/** The default keeps mappings. */
export const DEFAULT: Mode = { retention: undefined }

/** Both modes by name, for `it.each`. */
export const MODES: readonly (readonly ['strict' | 'default', Mode])[] = [
  ['strict', STRICT],
  ['default', DEFAULT],
]

/** Both modes by name, each with what is expected in it. */
export function inEachMode<Expected>(expected: {
  readonly strict: Expected
  readonly default: Expected
}): readonly (readonly ['strict' | 'default', Mode & { readonly expected: Expected }])[] {
  return [
    ['strict', { ...STRICT, expected: expected.strict }],
    ['default', { ...DEFAULT, expected: expected.default }],
  ]
}
