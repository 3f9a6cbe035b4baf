import { SystemCallError, windowPage } from '@xmc/interface'
import { createMemoryFile, memoryAreas, openWindow } from '../../src/index.ts'
import { memoryAreaLimit } from '../helpers/machine.ts'
import { countAreas } from '../helpers/process-memory.ts'

// More than two areas a page would use up.
const pageCount = memoryAreaLimit() * 3
// The kernel's limit is to be met, and not the budget below it.
memoryAreas().budget = 4 * pageCount
const file = createMemoryFile({ name: 'areas', size: 4096 })
file.write(0, Uint8Array.of(7))
// A map takes two memory areas, or one beside a mapping; the kernel stops at its limit or one above it,
// where it refuses more. One of these starts ends in each.
process.stdout.write(JSON.stringify([exhaust(1), exhaust(2)]))

function exhaust(firstPages: number): unknown {
  const window = openWindow({ pageCount, memoryAreas: 4 * pageCount })
  const bytes = new DataView(window.buffer, window.byteOffset, pageCount * 4096)
  for (let page = 0; page < firstPages; page++) mapPage(page)
  let failedPage = firstPages + 1
  const failure = mapUntilRefused()
  const mappedAtLimit = window.mappedPages
  const failedPageReads = bytes.getUint8(failedPage * 4096)
  bytes.setUint8(failedPage * 4096, 5)
  const failedPageStores = bytes.getUint8(failedPage * 4096)
  // Resetting needs no further area, even now: neither where something is mapped nor elsewhere.
  window.reset(windowPage(failedPage), 1)
  window.reset(windowPage(failedPage - 2), 1)
  const afterReset = [failedPage, failedPage - 2].map((page) => bytes.getUint8(page * 4096))
  // Nor does closing.
  mapUntilRefused()
  window.close()
  return {
    errnoName: failure.errnoName,
    message: failure.message.replace(/ to 1 pages at window page \d+/, ''),
    isWholeAgain: failure.cause === undefined,
    isCounted: mappedAtLimit === firstPages + (failedPage - firstPages - 1) / 2,
    failedPageReads,
    failedPageStores,
    afterReset,
    areasAfterClose: countAreas(window),
  }

  function mapPage(page: number): void {
    window.map(windowPage(page), 1, file.fd, 0, true)
  }

  function mapUntilRefused(): SystemCallError {
    for (; ; failedPage += 2) {
      try {
        mapPage(failedPage)
      } catch (error) {
        if (error instanceof SystemCallError) return error
        throw error
      }
    }
  }
}
