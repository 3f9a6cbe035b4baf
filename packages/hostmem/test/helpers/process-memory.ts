import { readdirSync, readFileSync } from 'node:fs'
import type { HostMemoryWindow } from '../../src/index.ts'

/** Number of memory areas of this process that overlap the window. */
export function countAreas(window: HostMemoryWindow): number {
  const start = window.hostAddress
  const end = start + window.pageCount * 4096
  return readMaps().filter((line) => {
    const [from = '', to = ''] = line.split(' ', 1)[0]?.split('-') ?? []
    return Number.parseInt(from, 16) < end && Number.parseInt(to, 16) > start
  }).length
}

/** Number of memory areas of this process that map the memory file of this name. */
export function countAreasOfFile(name: string): number {
  return readMaps().filter((line) => line.includes(`/memfd:${name} `)).length
}

/** Number of open file descriptors of this process. */
export function countFileDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}

function readMaps(): string[] {
  return readFileSync('/proc/self/maps', 'utf8').trimEnd().split('\n')
}
