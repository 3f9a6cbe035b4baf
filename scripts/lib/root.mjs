// @ts-check
import { fileURLToPath } from 'node:url'

/** The root folder of the repository, absolute. */
export const root = fileURLToPath(new URL('../../', import.meta.url))
