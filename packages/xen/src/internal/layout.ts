/** An ioctl request number without a direction, as Xen's devices have them: `_IOC(_IOC_NONE, …)`. */
export function requestNumber(type: string, number: number, size: number): number {
  return (size << 16) | (type.charCodeAt(0) << 8) | number
}

/** Stores an unsigned 64-bit integer below 2^53, little-endian. */
export function setUint64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % 2 ** 32, true)
  view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true)
}

/** Reads an unsigned 64-bit integer; it is exact below 2^53. */
export function getUint64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32
}
