import { checkOptions, InvalidArgumentError, type OptionNames } from '@xmc/interface'
import {
  DEFAULT_GRANT_FRAMES,
  DEFAULT_GUARANTEED_SHARE,
  MAX_GRANT_FRAMES,
} from '@xmc/memory-region'
import { TurnBudget, type VirtioDevice } from '@xmc/virtio'
import { ramBanks, VIRTIO_MMIO_SLOTS } from './address-map.ts'
import { TooManyDevicesError } from './errors.ts'

/**
 * How a guest hands memory to its devices: by grant references (bit 63 of an address,
 * VIRTIO_F_ACCESS_PLATFORM), or by its own physical addresses, all of which the board can then map.
 */
export type Addressing = 'grants' | 'foreign'

/** Something went wrong that no call can report; the board goes on. */
export interface BoardFault {
  /** The device it was about; undefined for the board itself. */
  readonly slot: number | undefined
  readonly error: Error
}

/** How a board is to be built. Everything has a default. */
export interface BoardOptions {
  /** Devices, in the order of the transports: device n is at slot n. At most 11; none by default. */
  readonly devices?: readonly VirtioDevice[] | undefined
  /**
   * How the guest has to address memory: with `grants`, the default, its drivers are refused unless
   * they take VIRTIO_F_ACCESS_PLATFORM; with `foreign` they may.
   */
  readonly addressing?: Addressing | undefined
  /** Frames of the guest's grant table, 512 references each, 1 to 8,388,608; 64 by default, as in Xen. */
  readonly grantFrames?: number | undefined
  /**
   * How guest memory is mapped: `synchronous`, the default, or `asynchronous` for hypervisors where a map
   * may block for long.
   */
  readonly mapping?: 'synchronous' | 'asynchronous' | undefined
  /** Bytes of the window for foreign memory; 4 GiB by default. A smaller one is taken where it is refused. */
  readonly foreignWindowBytes?: number | undefined
  /** Bytes of foreign memory that may stay mapped when nobody uses it; 1 GiB by default, and with 0 none does. */
  readonly foreignBudgetBytes?: number | undefined
  /** Bytes of the window for grants; 256 MiB by default. A smaller one is taken where it is refused. */
  readonly grantWindowBytes?: number | undefined
  /**
   * Part of each window that is divided among the devices, 0 to 1: so much each of them gets at any time, whatever others
   * have mapped; 0.5 by default. With 0 one device may have everything. A board with one device keeps nothing back.
   */
  readonly guaranteedShare?: number | undefined
  /**
   * Bounds what is done for the guest in a turn of the event loop, for all devices of the board together; by
   * default 1 ms and 4096 descriptors. Boards that are given the same one share it.
   */
  readonly turnBudget?: TurnBudget | undefined
  /**
   * Is told of faults of the board and its devices: of the first five of a kind and device with 0, and once in
   * 10 s of the last with how many there were. By default each is a process warning `WARN_XMC_DEVICE_FAULT`, once
   * for each kind and device. What it throws becomes a warning.
   */
  readonly onFault?: ((fault: BoardFault, repeated: number) => void) | undefined
}

/** A board, and the guest that a hypervisor shall make for it. */
export interface MachineOptions extends BoardOptions {
  /** Who makes the guest; only the embedded hypervisor is there. */
  readonly hypervisor?: 'simulator' | undefined
  /** Bytes of RAM, a multiple of 4096, up to 1,019 GiB; 512 MiB by default. */
  readonly memoryBytes?: number | undefined
  /** Virtual CPUs, 1 to 128; 1 by default. */
  readonly virtualCpus?: number | undefined
}

/** {@link BoardOptions}, checked, with nothing left out but the listener. */
export interface BoardConfiguration {
  readonly devices: readonly VirtioDevice[]
  readonly addressing: Addressing
  readonly grantFrames: number
  readonly mapping: 'synchronous' | 'asynchronous'
  readonly foreignWindowBytes: number
  readonly foreignBudgetBytes: number
  readonly grantWindowBytes: number
  readonly guaranteedShare: number
  readonly turnBudget: TurnBudget
  readonly onFault: ((fault: BoardFault, repeated: number) => void) | undefined
}

/** {@link MachineOptions}, checked, with nothing left out but the listener. */
export interface MachineConfiguration extends BoardConfiguration {
  readonly hypervisor: 'simulator'
  readonly memoryBytes: number
  readonly virtualCpus: number
}

/** Bytes of RAM of a guest unless said otherwise: 512 MiB. */
export const DEFAULT_MEMORY_BYTES: number = 512 * 2 ** 20

/** Xen's limit (`GUEST_MAX_VCPUS`). */
const MAXIMUM_VIRTUAL_CPUS = 128

const BOARD_OPTIONS: OptionNames<BoardOptions> = {
  devices: true,
  addressing: true,
  grantFrames: true,
  mapping: true,
  foreignWindowBytes: true,
  foreignBudgetBytes: true,
  grantWindowBytes: true,
  guaranteedShare: true,
  turnBudget: true,
  onFault: true,
}

const MACHINE_OPTIONS: OptionNames<MachineOptions> = {
  ...BOARD_OPTIONS,
  hypervisor: true,
  memoryBytes: true,
  virtualCpus: true,
}

/**
 * Checks the options of a board and fills in what is missing.
 *
 * @throws TooManyDevicesError `ERR_XMC_TOO_MANY_DEVICES`
 * @throws InvalidArgumentError `ERR_XMC_ARGUMENT` for any other value out of range, or an option that there is not
 */
export function boardConfiguration(options: BoardOptions): BoardConfiguration {
  checkOptions('Board.open', options, BOARD_OPTIONS)
  const devices = options.devices ?? []
  if (devices.length > VIRTIO_MMIO_SLOTS) {
    throw new TooManyDevicesError(devices.length, VIRTIO_MMIO_SLOTS)
  }
  const twice = devices.findIndex((device, index) => devices.indexOf(device) !== index)
  if (twice >= 0) {
    throw new InvalidArgumentError('devices', 'a device of its own for each slot', `slot ${twice}`)
  }
  return {
    devices: [...devices],
    addressing: oneOf('addressing', options.addressing ?? 'grants', ['grants', 'foreign']),
    grantFrames: integer(
      'grantFrames',
      options.grantFrames ?? DEFAULT_GRANT_FRAMES,
      MAX_GRANT_FRAMES,
    ),
    mapping: oneOf('mapping', options.mapping ?? 'synchronous', ['synchronous', 'asynchronous']),
    foreignWindowBytes: bytes('foreignWindowBytes', options.foreignWindowBytes ?? 4 * 2 ** 30),
    foreignBudgetBytes: bytes('foreignBudgetBytes', options.foreignBudgetBytes ?? 2 ** 30, 0),
    grantWindowBytes: bytes('grantWindowBytes', options.grantWindowBytes ?? 256 * 2 ** 20),
    guaranteedShare: part('guaranteedShare', options.guaranteedShare ?? DEFAULT_GUARANTEED_SHARE),
    turnBudget: options.turnBudget ?? new TurnBudget(),
    onFault: options.onFault,
  }
}

/**
 * Checks the options of a machine and fills in what is missing.
 *
 * @throws RamSizeError `ERR_XMC_RAM_SIZE`
 * @throws as {@link boardConfiguration}
 */
export function machineConfiguration(options: MachineOptions): MachineConfiguration {
  checkOptions('a machine', options, MACHINE_OPTIONS)
  const {
    hypervisor = 'simulator',
    memoryBytes = DEFAULT_MEMORY_BYTES,
    virtualCpus = 1,
    ...board
  } = options
  ramBanks(memoryBytes)
  return {
    ...boardConfiguration(board),
    hypervisor: oneOf('hypervisor', hypervisor, ['simulator']),
    memoryBytes,
    virtualCpus: integer('virtualCpus', virtualCpus, MAXIMUM_VIRTUAL_CPUS),
  }
}

/** The part of a machine's configuration that is the board's. */
export function boardPart(configuration: MachineConfiguration): BoardConfiguration {
  const { hypervisor: _, memoryBytes: _bytes, virtualCpus: _cpus, ...board } = configuration
  return board
}

function bytes(field: string, value: number, least: number = 1): number {
  // What a window can have at most, less than a page being none.
  return integer(field, value, 2 ** 43, least)
}

function part(field: string, value: number): number {
  if (value >= 0 && value <= 1) return value
  throw new InvalidArgumentError(field, 'a number from 0 to 1', value)
}

function integer(field: string, value: number, most: number, least: number = 1): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new InvalidArgumentError(field, `an integer from ${least} to ${most}`, value)
}

function oneOf<Value extends string>(
  field: string,
  value: Value,
  allowed: readonly Value[],
): Value {
  if (allowed.includes(value)) return value
  throw new InvalidArgumentError(field, allowed.join(' or '), value)
}
