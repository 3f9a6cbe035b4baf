import { RigUnavailableError } from '../errors.ts'

/** How something is built that is not in the cache. */
export interface BuildOptions {
  /** Whether it may be built at all. */
  readonly mayBuild: boolean
  /** Ends the build. */
  readonly signal: AbortSignal
}

/** What is thrown for something that is not there and may not be built. */
export function notBuilt(what: string): RigUnavailableError {
  return new RigUnavailableError(
    `${what} is not built yet, and --no-build forbids it: run it once without`,
  )
}
