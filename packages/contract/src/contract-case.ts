/** A value, or a promise of it: a fixture may have to ask another domain. */
export type Awaitable<Value> = Value | Promise<Value>

/** Stands in a provider's capabilities for something that it cannot do or control. */
export interface Unavailable {
  /** Why not, in one clause: the reason that is reported for the cases that need it. */
  readonly unavailable: string
}

/** What every provider under test has. */
export interface ContractProvider {
  /** Controls that not every provider has; {@link Unavailable} where this one has none. */
  readonly capabilities: object
  /** Takes down what the provider and its fixture set up, live mappings included. */
  close(): Awaitable<void>
}

/** Name of a capability that `Provider` may have. */
export type CapabilityName<Provider extends ContractProvider> = keyof Provider['capabilities'] &
  string

/** One thing that a port promises, and the steps that show it. */
export interface ContractCase<Provider extends ContractProvider> {
  /** Stable and unique in its contract, as `F12`. */
  readonly id: string
  /** What is promised, in one clause. */
  readonly title: string
  /** Capabilities without which the case does not apply. */
  readonly requires: readonly CapabilityName<Provider>[]
  /**
   * Resolves when the promise holds and throws when it does not. Needs a provider of its own, that
   * no other case used.
   */
  run(provider: Provider): Promise<void>
}

/**
 * Why `contractCase` does not apply to `provider`: the reason of the first capability that it needs
 * and the provider lacks. Undefined when the case applies.
 */
export function notApplicable<Provider extends ContractProvider>(
  contractCase: ContractCase<Provider>,
  provider: Provider,
): string | undefined {
  const capabilities: Provider['capabilities'] = provider.capabilities
  for (const name of contractCase.requires) {
    const capability: unknown = capabilities[name]
    if (isUnavailable(capability)) return `${name}: ${capability.unavailable}`
  }
  return undefined
}

/**
 * The control behind a capability.
 *
 * @throws Error when it is unavailable; a case names what it needs in `requires`
 */
export function available<Control extends object>(capability: Control | Unavailable): Control {
  if (isUnavailable(capability)) throw new Error(`not available: ${capability.unavailable}`)
  return capability
}

function isUnavailable(capability: unknown): capability is Unavailable {
  return typeof capability === 'object' && capability !== null && 'unavailable' in capability
}
