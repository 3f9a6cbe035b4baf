import type { MmioRegion } from '../mmio-region.ts'

/** Reads 1, 2 or 4 bytes of a device as a number in the byte order asked for. */
export function mmioLoad(
  region: MmioRegion,
  offset: number,
  size: number,
  littleEndian: boolean,
): number {
  region.check(offset, size, false)
  if (isDirect(region, offset, size)) {
    const value = region.device.read(offset, size)
    return littleEndian === region.littleEndian ? unsigned(value, size) : swapped(value, size)
  }
  const bytes = new DataView(new ArrayBuffer(16))
  const start = readUnits(region, offset, size, bytes)
  return getValue(bytes, start, size, littleEndian)
}

/** Reads 8 bytes of a device as a bigint in the byte order asked for. */
export function mmioLoadBig(region: MmioRegion, offset: number, littleEndian: boolean): bigint {
  region.check(offset, 8, false)
  const bytes = new DataView(new ArrayBuffer(16))
  const start = readUnits(region, offset, 8, bytes)
  return bytes.getBigUint64(start, littleEndian)
}

/** Writes the low 1, 2 or 4 bytes of a number, in the byte order given, to a device. */
export function mmioStore(
  region: MmioRegion,
  offset: number,
  size: number,
  value: number,
  littleEndian: boolean,
): void {
  region.check(offset, size, true)
  if (isDirect(region, offset, size)) {
    const same = littleEndian === region.littleEndian
    region.device.write(offset, same ? unsigned(value, size) : swapped(value, size), size)
    return
  }
  const bytes = new DataView(new ArrayBuffer(16))
  setValue(bytes, 0, size, value, littleEndian)
  writeUnits(region, offset, size, bytes)
}

/** Writes the low 8 bytes of a bigint, in the byte order given, to a device. */
export function mmioStoreBig(
  region: MmioRegion,
  offset: number,
  value: bigint,
  littleEndian: boolean,
): void {
  region.check(offset, 8, true)
  const bytes = new DataView(new ArrayBuffer(16))
  bytes.setBigUint64(0, value, littleEndian)
  writeUnits(region, offset, 8, bytes)
}

/** Reads a run of bytes by the largest valid accesses that fit. */
export function mmioRead(region: MmioRegion, offset: number, target: Uint8Array): void {
  const view = new DataView(target.buffer, target.byteOffset, target.length)
  eachAccess(region, offset, target.length, (at, size) => {
    if (size === 8) view.setBigUint64(at, mmioLoadBig(region, offset + at, true), true)
    else setValue(view, at, size, mmioLoad(region, offset + at, size, true), true)
  })
}

/** Writes a run of bytes by the largest valid accesses that fit. */
export function mmioWrite(region: MmioRegion, offset: number, source: Uint8Array): void {
  const view = new DataView(source.buffer, source.byteOffset, source.length)
  eachAccess(region, offset, source.length, (at, size) => {
    if (size === 8) mmioStoreBig(region, offset + at, view.getBigUint64(at, true), true)
    else mmioStore(region, offset + at, size, getValue(view, at, size, true), true)
  })
}

function eachAccess(
  region: MmioRegion,
  offset: number,
  length: number,
  access: (at: number, size: number) => void,
): void {
  const { maximum, unaligned } = region.valid
  for (let at = 0; at < length; ) {
    const left = length - at
    const fits = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1
    const size = Math.min(maximum, fits, unaligned ? 8 : alignmentOf(offset + at))
    access(at, size)
    at += size
  }
}

/** Whether the device's code takes the access as it is. */
function isDirect(region: MmioRegion, offset: number, size: number): boolean {
  const { minimum, maximum, unaligned } = region.implemented
  return size >= minimum && size <= maximum && (unaligned || offset % size === 0)
}

/** Bytes of the accesses that an access is made of: the largest that fit it, else the smallest there are. */
function unitOf(region: MmioRegion, offset: number, size: number): number {
  const { minimum, maximum, unaligned } = region.implemented
  return Math.max(Math.min(size, maximum, unaligned ? 8 : alignmentOf(offset)), minimum)
}

/** The largest access size that `offset` is a multiple of. */
function alignmentOf(offset: number): number {
  if (offset % 8 === 0) return 8
  if (offset % 4 === 0) return 4
  return offset % 2 === 0 ? 2 : 1
}

/** Where the first unit starts: at the access if its units fit it exactly, else aligned, around it. */
function startOf(region: MmioRegion, offset: number, size: number, unit: number): number {
  const exact = unit <= size && (region.implemented.unaligned || offset % unit === 0)
  return exact ? offset : offset - (offset % unit)
}

/** Reads the units that cover an access into `bytes`; returns where the access starts in it. */
function readUnits(region: MmioRegion, offset: number, size: number, bytes: DataView): number {
  const unit = unitOf(region, offset, size)
  const start = startOf(region, offset, size, unit)
  for (let at = start; at < offset + size; at += unit) readUnit(region, at, unit, bytes, at - start)
  return offset - start
}

/** Writes the first `size` bytes of `bytes`; units that reach beyond them are read before. */
function writeUnits(region: MmioRegion, offset: number, size: number, bytes: DataView): void {
  const unit = unitOf(region, offset, size)
  const start = startOf(region, offset, size, unit)
  const merged = new DataView(new ArrayBuffer(8))
  for (let at = start; at < offset + size; at += unit) {
    if (at < offset || at + unit > offset + size) readUnit(region, at, unit, merged, 0)
    for (let byte = Math.max(at, offset); byte < Math.min(at + unit, offset + size); byte++) {
      merged.setUint8(byte - at, bytes.getUint8(byte - offset))
    }
    writeUnit(region, at, unit, merged)
  }
}

function readUnit(
  region: MmioRegion,
  offset: number,
  unit: number,
  into: DataView,
  at: number,
): void {
  const { device, littleEndian } = region
  if (unit === 8) into.setBigUint64(at, device.readBigUint64!(offset), littleEndian)
  else setValue(into, at, unit, device.read(offset, unit), littleEndian)
}

function writeUnit(region: MmioRegion, offset: number, unit: number, from: DataView): void {
  const { device, littleEndian } = region
  if (unit === 8) device.writeBigUint64!(offset, from.getBigUint64(0, littleEndian))
  else device.write(offset, getValue(from, 0, unit, littleEndian), unit)
}

/** A number of 1, 2 or 4 bytes out of a buffer. */
export function getValue(view: DataView, at: number, size: number, littleEndian: boolean): number {
  if (size === 4) return view.getUint32(at, littleEndian)
  return size === 2 ? view.getUint16(at, littleEndian) : view.getUint8(at)
}

/** A number of 1, 2 or 4 bytes into a buffer. */
export function setValue(
  view: DataView,
  at: number,
  size: number,
  value: number,
  littleEndian: boolean,
): void {
  if (size === 4) view.setUint32(at, value, littleEndian)
  else if (size === 2) view.setUint16(at, value, littleEndian)
  else view.setUint8(at, value)
}

function unsigned(value: number, size: number): number {
  if (size === 4) return value >>> 0
  return size === 2 ? value & 0xffff : value & 0xff
}

function swapped(value: number, size: number): number {
  if (size === 1) return value & 0xff
  if (size === 2) return ((value & 0xff) << 8) | ((value >>> 8) & 0xff)
  const high = ((value & 0xff) << 24) | ((value & 0xff00) << 8)
  return (high | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0
}
