import { SystemCallError } from '@xmc/core'
import { createMemoryFile, openWindow, windowPage } from '../../src/index.ts'
import { countAreas } from '../helpers/process-memory.ts'

const pageCount = 200_000
const window = openWindow({ pageCount })
const file = createMemoryFile({ name: 'areas', size: 4096 })
const bytes = new DataView(window.buffer, window.byteOffset, pageCount * 4096)
file.write(0, Uint8Array.of(7))
let failedPage = 0
const failure = mapUntilRefused()
const mappedAtLimit = window.mappedPages
const failedPageReads = bytes.getUint8(failedPage * 4096)
bytes.setUint8(failedPage * 4096, 5)
const failedPageStores = bytes.getUint8(failedPage * 4096)
// Resetting needs no further area, even now: neither where something is mapped nor elsewhere.
window.reset(windowPage(failedPage), 1)
window.reset(windowPage(failedPage - 2), 1)
const afterReset = [bytes.getUint8(failedPage * 4096), bytes.getUint8((failedPage - 2) * 4096)]
// Nor does closing.
mapUntilRefused()
window.close()
process.stdout.write(
  JSON.stringify({
    errnoName: failure.errnoName,
    message: failure.message.replace(/ to 1 pages at window page \d+/, ''),
    detail: failure.cause === undefined,
    counted: mappedAtLimit === failedPage / 2,
    failedPageReads,
    failedPageStores,
    afterReset,
    areasAfterClose: countAreas(window),
  }),
)

/** Maps every other page from `failedPage` on, which takes two memory areas each, as long as there are any. */
function mapUntilRefused(): SystemCallError {
  for (; ; failedPage += 2) {
    try {
      window.map(windowPage(failedPage), 1, file.fd, 0, true)
    } catch (error) {
      if (error instanceof SystemCallError) return error
      throw error
    }
  }
}
