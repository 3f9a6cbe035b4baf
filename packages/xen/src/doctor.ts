import { closeSync, openSync, readFileSync } from 'node:fs'
import {
  loadNativeInterface,
  readAddressSpaceLimits,
  requireSupportedPlatform,
  UNLIMITED,
} from '@xmc/hostmem'
import { errnoOf, messageOf, nameOfErrno } from '@xmc/interface'
import { Device } from './internal/device.ts'
import { probeDeviceModels } from './internal/dm-op.ts'
import { PRIVCMD_PATH } from './internal/privcmd.ts'
import { MODULES, NO_IOREQ_SERVERS, remedyFor } from './internal/reasons.ts'
import { Scratch } from './internal/scratch.ts'
import { systemCalls } from './internal/system-calls.ts'

/** What a check is about. */
export type DoctorSubject =
  | 'platform'
  | 'hypervisor'
  | 'privilege'
  | 'device'
  | 'module'
  | 'library'
  | 'limit'

/** One thing that {@link doctor} looked at. */
export interface DoctorCheck {
  readonly subject: DoctorSubject
  /** What it is called, as `/dev/xen/gntdev` or `vm.max_map_count`. */
  readonly name: string
  /** `missing` only where it matters; `note` where it does not, or may not be enough. */
  readonly status: 'ok' | 'note' | 'missing'
  /** Whether everything that the package does needs it. */
  readonly required: boolean
  /** What was found, in one clause. */
  readonly found: string
  /** What to do about it; undefined where nothing is to be done. */
  readonly remedy: string | undefined
}

/** What {@link doctor} found. */
export interface DoctorReport {
  /** Whether foreign memory, grants and event channels can be used: nothing that is required is missing. */
  readonly usable: boolean
  readonly checks: readonly DoctorCheck[]
}

/** Where {@link doctor} looks. */
export interface DoctorOptions {
  /** Put before the paths of devices and of what the kernel tells. Default: nothing. */
  readonly root?: string | undefined
  /** Loads a shared library by its soname, and throws where there is none. Default: through koffi. */
  readonly loadLibrary?: ((soname: string) => void) | undefined
  /**
   * Asks Xen whether it has operations for device models: the positive errno for a domain that does not exist, or
   * undefined where Xen cannot be asked. Default: through privcmd.
   */
  readonly probeDeviceModels?: (() => number | undefined) | undefined
  /** Default: that of the process. */
  readonly effectiveUserId?: number | undefined
}

/**
 * Looks at what real Xen takes: platform, hypervisor, devices and their kernel modules, privileges, limits,
 * Xen's libraries; and says what to do about each that is not there. Changes nothing, and needs no Xen.
 */
export function doctor(options: DoctorOptions = {}): DoctorReport {
  const { root = '' } = options
  const checks = [
    platformCheck(),
    hypervisorCheck(root),
    controlDomainCheck(root),
    privilegeCheck(options.effectiveUserId ?? process.geteuid?.() ?? 0),
    ...DEVICES.flatMap((device) => deviceChecks(root, device)),
    deviceModelCheck(options.probeDeviceModels ?? (() => probeThroughPrivcmd(root))),
    mapCountCheck(root),
    addressSpaceCheck(),
    gntallocLimitCheck(root),
    ...LIBRARIES.map((library) => libraryCheck(library, options.loadLibrary ?? loadByKoffi)),
  ]
  return {
    usable: !checks.some(({ required, status }) => required && status === 'missing'),
    checks,
  }
}

/** The report as lines of text: a mark, the name and what was found, and below it what to do. */
export function formatDoctorReport(report: DoctorReport): string {
  const width = Math.max(...report.checks.map(({ name }) => name.length))
  const lines = report.checks.flatMap(({ name, status, found, remedy }) => [
    `${status.padEnd(MARK_WIDTH)}  ${name.padEnd(width)}  ${found}`,
    ...(remedy === undefined ? [] : [`${' '.repeat(MARK_WIDTH + width + 4)}→ ${remedy}`]),
  ])
  const verdict = report.usable
    ? 'Xen can be used from this process.'
    : 'Xen cannot be used from this process; @xmc/sim has the same interfaces without it.'
  return `${[...lines, verdict].join('\n')}\n`
}

const MARK_WIDTH = 'missing'.length

interface DeviceDescription {
  readonly path: string
  readonly use: string
  readonly required: boolean
}

const DEVICES: readonly DeviceDescription[] = [
  { path: '/dev/xen/privcmd', use: 'foreign memory', required: true },
  { path: '/dev/xen/gntdev', use: 'granted pages', required: true },
  { path: '/dev/xen/evtchn', use: 'event channels', required: true },
  { path: '/dev/xen/gntalloc', use: 'sharing pages of this domain', required: false },
]

/** Stable libraries of Xen: none is needed here, other device models may want them. */
const LIBRARIES: readonly string[] = [
  'libxendevicemodel.so.1',
  'libxenforeignmemory.so.1',
  'libxengnttab.so.1',
  'libxenevtchn.so.1',
]

/** The kernel's default of vm.max_map_count. */
const USUAL_MAP_COUNT = 65_530

function platformCheck(): DoctorCheck {
  const check = { subject: 'platform', name: 'platform', required: true } as const
  const platform = `${process.platform}-${process.arch}, Node ${process.versions.node}`
  try {
    requireSupportedPlatform()
    loadNativeInterface()
    return { ...check, status: 'ok', found: platform, remedy: undefined }
  } catch (error) {
    return { ...check, status: 'missing', found: platform, remedy: messageOf(error) }
  }
}

function hypervisorCheck(root: string): DoctorCheck {
  const check = { subject: 'hypervisor', name: 'hypervisor', required: true } as const
  const type = contentOf(`${root}/sys/hypervisor/type`)
  if (type === 'xen') {
    const part = (name: string): string => contentOf(`${root}/sys/hypervisor/version/${name}`) ?? ''
    const version = `${part('major')}.${part('minor')}${part('extra')}`
    return { ...check, status: 'ok', found: `Xen ${version}`, remedy: undefined }
  }
  const found = type === undefined || type === '' ? 'none' : type
  return {
    ...check,
    status: 'missing',
    found: `${found}, not Xen`,
    remedy: 'run in a domain of Xen, its control domain for the memory of other domains',
  }
}

function controlDomainCheck(root: string): DoctorCheck {
  const check = { subject: 'privilege', name: 'control domain', required: false } as const
  const capabilities = contentOf(`${root}/proc/xen/capabilities`)
  if (capabilities?.includes('control_d') === true) {
    return { ...check, status: 'ok', found: 'this is the control domain', remedy: undefined }
  }
  return capabilities === undefined
    ? {
        ...check,
        status: 'note',
        found: 'unknown, /proc/xen is not mounted',
        remedy: 'mount -t xenfs xenfs /proc/xen',
      }
    : {
        ...check,
        status: 'note',
        found: 'this is another domain',
        remedy: 'grants and event channels work here; for foreign memory run in the control domain',
      }
}

function privilegeCheck(effectiveUserId: number): DoctorCheck {
  const check = { subject: 'privilege', name: 'user', required: false } as const
  return effectiveUserId === 0
    ? { ...check, status: 'ok', found: 'root', remedy: undefined }
    : {
        ...check,
        status: 'note',
        found: `user ${effectiveUserId}`,
        remedy: 'the devices are usually for root alone: run as root where they cannot be opened',
      }
}

function deviceChecks(root: string, { path, use, required }: DeviceDescription): DoctorCheck[] {
  const device = { subject: 'device', name: path, required } as const
  const name = MODULES.get(path) ?? path
  const module = { subject: 'module', name, required: false } as const
  const loaded =
    contentOf(`${root}/proc/modules`)?.includes(`${name.replaceAll('-', '_')} `) === true
  const errno = openErrno(`${root}${path}`)
  if (errno === undefined) {
    const how = loaded ? 'loaded' : 'part of the kernel'
    return [
      { ...device, status: 'ok', found: `can be opened, for ${use}`, remedy: undefined },
      { ...module, status: 'ok', found: how, remedy: undefined },
    ]
  }
  const errnoName = nameOfErrno(errno)
  const status = required ? 'missing' : 'note'
  const found = `cannot be opened (${errnoName}), for ${use}`
  const missing: DoctorCheck = { ...device, status, found, remedy: remedyFor(path, errnoName) }
  if (loaded) return [missing, { ...module, status: 'ok', found: 'loaded', remedy: undefined }]
  const remedy = `modprobe ${name}, under Xen`
  return [missing, { ...module, status: 'note', found: 'not loaded', remedy }]
}

/** Whether the memory-mapped I/O of a guest can be served: what a disk of `arm-virt serve --xen` takes. */
function deviceModelCheck(probe: () => number | undefined): DoctorCheck {
  const check = { subject: 'hypervisor', name: 'device models', required: false } as const
  const errno = probe()
  const errnoName = errno === undefined ? undefined : nameOfErrno(errno)
  switch (errnoName) {
    case 'ESRCH':
      return { ...check, status: 'ok', found: 'Xen has ioreq servers', remedy: undefined }
    case 'ENOSYS':
    case 'ENOTSUP':
      return {
        ...check,
        status: 'note',
        found: 'Xen has no ioreq servers',
        remedy: NO_IOREQ_SERVERS,
      }
    case 'EPERM':
      return {
        ...check,
        status: 'note',
        found: 'this domain may not be a device model (EPERM)',
        remedy: 'run in the control domain',
      }
    default:
      return {
        ...check,
        status: 'note',
        found: `unknown, Xen could not be asked${errnoName === undefined ? '' : ` (${errnoName})`}`,
        remedy: undefined,
      }
  }
}

function probeThroughPrivcmd(root: string): number | undefined {
  const path = `${root}${PRIVCMD_PATH}`
  // A platform without the package's system calls, and a machine without the device, have checks of their own.
  if (openErrno(path) !== undefined) return undefined
  const device = new Device(systemCalls(), path)
  try {
    return probeDeviceModels(device, new Scratch(device.calls))
  } finally {
    device.close()
  }
}

function mapCountCheck(root: string): DoctorCheck {
  const check = { subject: 'limit', name: 'vm.max_map_count', required: false } as const
  const text = contentOf(`${root}/proc/sys/vm/max_map_count`)
  const count = Number(text)
  if (text === undefined || !(count > 0)) {
    return { ...check, status: 'note', found: 'unknown', remedy: undefined }
  }
  const found = `${count} memory areas; a mapping takes up to two`
  return count >= USUAL_MAP_COUNT
    ? { ...check, status: 'ok', found, remedy: undefined }
    : { ...check, status: 'note', found, remedy: `sysctl vm.max_map_count=${USUAL_MAP_COUNT}` }
}

function addressSpaceCheck(): DoctorCheck {
  const check = { subject: 'limit', name: 'address space', required: false } as const
  try {
    const { soft } = readAddressSpaceLimits()
    return soft === UNLIMITED
      ? { ...check, status: 'ok', found: 'unlimited', remedy: undefined }
      : {
          ...check,
          status: 'note',
          found: `${soft} bytes (RLIMIT_AS)`,
          remedy: 'windows will be smaller: raise it with ulimit -v unlimited',
        }
  } catch (error) {
    return { ...check, status: 'note', found: messageOf(error), remedy: undefined }
  }
}

function gntallocLimitCheck(root: string): DoctorCheck {
  const name = 'gntalloc limit'
  const check = { subject: 'limit', name, required: false, remedy: undefined } as const
  const limit = contentOf(`${root}/sys/module/xen_gntalloc/parameters/limit`)
  return limit === undefined
    ? { ...check, status: 'note', found: 'unknown, the module is not loaded' }
    : { ...check, status: 'ok', found: `${limit} pages shared at a time by all programs` }
}

function libraryCheck(soname: string, load: (soname: string) => void): DoctorCheck {
  const check = { subject: 'library', name: soname, required: false, remedy: undefined } as const
  try {
    load(soname)
    return { ...check, status: 'ok', found: 'there; not needed by this package' }
  } catch {
    // Why is of no interest: it is not needed.
    return { ...check, status: 'note', found: 'not there; not needed by this package' }
  }
}

function loadByKoffi(soname: string): void {
  loadNativeInterface().load(soname)
}

function openErrno(path: string): number | undefined {
  try {
    closeSync(openSync(path, 'r+'))
    return undefined
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    return errno
  }
}

/** What a file holds, without the end of its line; undefined where it cannot be read. */
function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (errnoOf(error) === undefined) throw error
    return undefined
  }
}
