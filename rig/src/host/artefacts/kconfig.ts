import { RigError } from '../errors.ts'

/** Options that a configuration file sets, by name, without comments. */
export function parseConfiguration(text: string): Map<string, string> {
  return new Map(
    [...text.matchAll(/^(?<name>CONFIG_\w+)=(?<value>.*)$/gm)].map(({ groups }) => [
      groups?.['name'] ?? '',
      groups?.['value'] ?? '',
    ]),
  )
}

/**
 * Makes sure that the configuration a build came to has all that was asked for: one whose conditions are not
 * met is dropped in silence.
 *
 * @throws RigError with the options that are missing
 */
export function expectConfigured(wanted: string, actual: string): void {
  const found = parseConfiguration(actual)
  const missing = [...parseConfiguration(wanted)].filter(
    ([name, value]) => found.get(name) !== value,
  )
  if (missing.length === 0) return
  const list = missing.map(
    ([name, value]) => `${name}=${value} (is ${found.get(name) ?? 'not set'})`,
  )
  throw new RigError(`the configuration does not take ${list.join(', ')}`)
}
