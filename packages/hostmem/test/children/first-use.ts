import { createRequire } from 'node:module'
import { openWindow } from '../../src/index.ts'

const { cache } = createRequire(import.meta.url)
const isLoaded = (): boolean =>
  Object.keys(cache).some((path) => path.includes('/node_modules/koffi/'))
const afterImport = isLoaded()
openWindow({ pageCount: 1 }).close()
process.stdout.write(JSON.stringify({ afterImport, afterUse: isLoaded() }))
