import { readFileSync } from 'node:fs'

/**
 * Why this machine gives no buffer of `bytes`, though nobody touches all of it; undefined if it does. What
 * other processes use counts only where the machine never promises more than it has.
 */
export function reasonAgainstBuffer(bytes: number): string | undefined {
  const limit = hardLimitOfAddressSpace()
  if (limit !== 'unlimited') return `the address space is limited to ${limit} bytes (RLIMIT_AS)`
  const policy = readFileSync('/proc/sys/vm/overcommit_memory', 'latin1').trim()
  const [memory, swap] = [kibibytes('MemTotal'), kibibytes('SwapTotal')]
  const [promised, promisable] = [kibibytes('Committed_AS'), kibibytes('CommitLimit')]
  const given = { '0': memory + swap, '1': Infinity }[policy] ?? promisable - promised
  if (given * 1024 > bytes) return undefined
  return `a buffer of ${bytes} bytes is not had with vm.overcommit_memory=${policy} and ${given} KiB`
}

/** The hard limit of address space of this process in bytes, or `unlimited`. */
export function hardLimitOfAddressSpace(): string {
  const limits = readFileSync('/proc/self/limits', 'latin1')
  return /^Max address space +\S+ +(\S+)/m.exec(limits)?.[1] ?? 'unlimited'
}

/** Memory areas that the kernel allows a process. */
export function memoryAreaLimit(): number {
  return Number(readFileSync('/proc/sys/vm/max_map_count', 'latin1'))
}

function kibibytes(name: string): number {
  const lines = readFileSync('/proc/meminfo', 'latin1')
  return Number(new RegExp(String.raw`^${name}: +(\d+) kB$`, 'm').exec(lines)?.[1] ?? 0)
}
