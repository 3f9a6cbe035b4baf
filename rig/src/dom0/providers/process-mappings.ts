import { readFileSync } from 'node:fs'

/** Memory areas of this process that show pages of a device, as `/dev/xen/gntdev`. */
export function countMappings(device: string): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.endsWith(` ${device}`)).length
}
