import { execFileSync } from 'node:child_process'
import { raiseAddressSpaceLimit, readAddressSpaceLimits, XmcError } from './exports.ts'

// Reading binds the system calls, while the program may still read its files.
readAddressSpaceLimits()
const [uid, soft] = process.argv.slice(2)
if (soft !== undefined) execFileSync('prlimit', [`--pid=${process.pid}`, `--as=${soft}:`])
if (uid !== undefined && process.geteuid?.() === 0) process.seteuid?.(Number(uid))
const before = readAddressSpaceLimits()
const outcome = attempt()
const report = { before, outcome, after: readAddressSpaceLimits() }
process.stdout.write(
  JSON.stringify(report, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  ),
)

function attempt(): unknown {
  try {
    return raiseAddressSpaceLimit()
  } catch (error) {
    if (error instanceof XmcError) return Object.assign({}, error, { message: error.message })
    throw error
  }
}
