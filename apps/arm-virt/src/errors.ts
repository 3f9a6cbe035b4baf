import { countOf, XmcError } from '@xmc/interface'
import type { DomainEnd } from './hypervisor.ts'

/** `ERR_XMC_RAM_SIZE`: the guest is to have more RAM than the address map has room for. */
export class RamSizeError extends XmcError {
  /** Bytes that were asked for. */
  readonly bytes: number
  /** Bytes that the map has room for. */
  readonly maximumBytes: number

  constructor(bytes: number, maximumBytes: number) {
    super(
      'ERR_XMC_RAM_SIZE',
      `${bytes} bytes of RAM do not fit the address map: it has room for ${maximumBytes} bytes ` +
        `(${maximumBytes / 2 ** 30} GiB): give the guest less memory`,
    )
    this.bytes = bytes
    this.maximumBytes = maximumBytes
  }
}

/** `ERR_XMC_RAM_PLACE`: a domain has RAM where the address map has none. */
export class RamPlaceError extends XmcError {
  /** First address of the RAM. */
  readonly address: bigint
  /** Bytes. */
  readonly size: bigint

  constructor(domain: number, address: bigint, size: bigint) {
    super(
      'ERR_XMC_RAM_PLACE',
      `domain ${domain} has ${size} bytes of RAM at 0x${address.toString(16)}, outside the banks of the ` +
        'address map: only guests with the memory map of Xen on Arm can be served',
    )
    this.address = address
    this.size = size
  }
}

/** `ERR_XMC_TOO_MANY_DEVICES`: the board has fewer transports than devices were given. */
export class TooManyDevicesError extends XmcError {
  /** Devices that were given. */
  readonly count: number
  /** Transports of the board. */
  readonly maximum: number

  constructor(count: number, maximum: number) {
    super(
      'ERR_XMC_TOO_MANY_DEVICES',
      `${count} devices do not fit the board: it has ${maximum} virtio-mmio transports: leave some out`,
    )
    this.count = count
    this.maximum = maximum
  }
}

/** `ERR_XMC_DOMAIN_ENDED`: the guest stopped while it was served. */
export class DomainEndedError extends XmcError {
  /** Which guest. */
  readonly domain: number
  /** How it stopped. */
  readonly end: DomainEnd

  constructor(domain: number, end: DomainEnd) {
    const how = { shutdown: 'was shut down', crashed: 'crashed', destroyed: 'was destroyed' }[end]
    super(
      'ERR_XMC_DOMAIN_ENDED',
      `domain ${domain} ${how} while its disk was in use: start the guest again`,
    )
    this.domain = domain
    this.end = end
  }
}

/** `ERR_XMC_DIGEST_MISMATCH`: the bytes that the guest moved are not those of the file. */
export class DigestMismatchError extends XmcError {
  /** SHA-256 of what the guest moved, in hexadecimal. */
  readonly guestSha256: string
  /** SHA-256 of the file by itself. */
  readonly hostSha256: string

  constructor(path: string, guestSha256: string, hostSha256: string) {
    super(
      'ERR_XMC_DIGEST_MISMATCH',
      `${path}: what the guest moved has SHA-256 ${guestSha256}, the file has ${hostSha256}: ` +
        'see whether somebody else writes to the file',
    )
    this.guestSha256 = guestSha256
    this.hostSha256 = hostSha256
  }
}

/** `ERR_XMC_DATA_MISMATCH`: bytes that the guest read differ from those of the file. */
export class DataMismatchError extends XmcError {
  /** First byte that differs, from the start of the disk. */
  readonly position: number

  constructor(path: string, position: number) {
    super(
      'ERR_XMC_DATA_MISMATCH',
      `${path}: byte ${position} is not what the guest read there: see whether somebody writes to the file`,
    )
    this.position = position
  }
}

/** `ERR_XMC_SAME_FILE`: two disks that a guest may write to are one file, which would destroy what is on it. */
export class SameFileError extends XmcError {
  /** The file, by the name that came first. */
  readonly path: string
  /** The same file, by the name that came second. */
  readonly other: string

  constructor(path: string, other: string) {
    const names = path === other ? path : `${path} and ${other}`
    super(
      'ERR_XMC_SAME_FILE',
      `${names}: two disks cannot be one file that is written to: give a file for each`,
    )
    this.path = path
    this.other = other
  }
}

/** `ERR_XMC_LEFTOVERS`: something of the guest was still mapped or bound after everything was closed. */
export class LeftoversError extends XmcError {
  /** One line for each thing. */
  readonly leftovers: readonly string[]

  constructor(leftovers: readonly string[]) {
    super(
      'ERR_XMC_LEFTOVERS',
      `${countOf(leftovers.length, 'thing was', 'things were')} left after the end, which is an error of this program: ${leftovers.join('; ')}`,
    )
    this.leftovers = leftovers
  }
}

/** `ERR_XMC_INTERRUPTED`: a signal ended the work before it was done; everything was released. */
export class InterruptedError extends XmcError {
  /** Which signal. */
  readonly signal: NodeJS.Signals

  constructor(signal: NodeJS.Signals) {
    super('ERR_XMC_INTERRUPTED', `ended by ${signal}; everything was unmapped`)
    this.signal = signal
  }
}

/** `ERR_XMC_DOMAIN_UNAVAILABLE`: a domain cannot be served: there is none, or it does not run. */
export class DomainUnavailableError extends XmcError {
  /** Which domain. */
  readonly domain: number

  constructor(domain: number, reason: string) {
    super(
      'ERR_XMC_DOMAIN_UNAVAILABLE',
      `domain ${domain} cannot be served: ${reason}; "xl list" shows the domains there are, a domain that Xen ` +
        'started with the machine has the number of its place in the device tree, from 1',
    )
    this.domain = domain
  }
}
