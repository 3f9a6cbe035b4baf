import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { RigError } from '../errors.ts'

/**
 * Path of the one entry of a folder whose name fits a pattern.
 *
 * @throws RigError when none fits, or several do
 */
export async function onlyEntry(folder: string, pattern: RegExp): Promise<string> {
  const found = (await readdir(folder)).filter((name) => pattern.test(name))
  const [only] = found
  if (only === undefined || found.length > 1) {
    throw new RigError(
      `${folder}: one entry like ${pattern} was expected, found ${found.join(', ')}`,
    )
  }
  return join(folder, only)
}
