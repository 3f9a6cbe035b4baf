import type { MmioDevice } from '../../src/index.ts'

/** A device that is a row of bytes, little-endian unless told otherwise, and logs its accesses. */
export class RegisterBank implements MmioDevice {
  readonly bytes: Uint8Array
  /** Accesses in order, as `read 0x10 4` and `write 0x10 4 0x1234`. */
  readonly log: string[] = []
  private readonly view: DataView
  private readonly littleEndian: boolean

  constructor(size: number, littleEndian = true) {
    this.bytes = new Uint8Array(size)
    this.view = new DataView(this.bytes.buffer)
    this.littleEndian = littleEndian
  }

  read(offset: number, size: number): number {
    this.log.push(`read ${hex(offset)} ${size}`)
    if (size === 4) return this.view.getUint32(offset, this.littleEndian)
    if (size === 2) return this.view.getUint16(offset, this.littleEndian)
    return this.view.getUint8(offset)
  }

  write(offset: number, value: number, size: number): void {
    this.log.push(`write ${hex(offset)} ${size} ${hex(value)}`)
    if (size === 4) this.view.setUint32(offset, value, this.littleEndian)
    else if (size === 2) this.view.setUint16(offset, value, this.littleEndian)
    else this.view.setUint8(offset, value)
  }

  readBigUint64(offset: number): bigint {
    this.log.push(`read ${hex(offset)} 8`)
    return this.view.getBigUint64(offset, this.littleEndian)
  }

  writeBigUint64(offset: number, value: bigint): void {
    this.log.push(`write ${hex(offset)} 8 ${hex(value)}`)
    this.view.setBigUint64(offset, value, this.littleEndian)
  }
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`
}
