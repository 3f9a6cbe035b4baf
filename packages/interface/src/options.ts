import { InvalidArgumentError } from './errors.ts'

/** The names of all options of a call; the compiler sees to it that none is missing. */
export type OptionNames<Options> = Readonly<Record<keyof Options, true>>

/**
 * Refuses options that a call does not know: nothing else notices a misspelt one in plain JavaScript. An option that
 * is undefined counts as not given.
 *
 * @param owner the constructor or function, as `openWindow`, for the message
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT`: `options` is no object, or has a key of its own that is not in `names`,
 * which is the `field` then
 */
export function checkOptions<Options extends object>(
  owner: string,
  options: Options,
  names: OptionNames<NoInfer<Options>>,
): void {
  if (typeof options !== 'object' || options === null) {
    throw new InvalidArgumentError('options', `an object with ${listOf(owner, names)}`, options)
  }
  for (const key of Object.keys(options)) {
    if (Object.hasOwn(names, key)) continue
    const value: unknown = Reflect.get(options, key)
    if (value === undefined) continue
    throw new InvalidArgumentError(key, `one of ${listOf(owner, names)}`, value)
  }
}

/**
 * Refuses what does not fit a port: a collaborator that was left out, or another one.
 *
 * @param field name of the option or argument
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` unless `value` has all the methods
 */
export function checkMethods<Port extends object>(
  field: string,
  value: Port,
  methods: readonly (string & keyof Port)[],
): void {
  const fits =
    typeof value === 'object' &&
    value !== null &&
    methods.every((method) => typeof value[method] === 'function')
  if (fits) return
  const many = methods.length === 1 ? 'the method' : 'the methods'
  throw new InvalidArgumentError(field, `an object with ${many} ${methods.join(', ')}`, value)
}

function listOf(owner: string, names: object): string {
  return `the options of ${owner} (${Object.keys(names).join(', ')})`
}
