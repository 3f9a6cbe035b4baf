import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { doctor, formatDoctorReport } from '../src/index.ts'

/** What the kernel of a dom0 shows. */
const DOM0: Readonly<Record<string, string>> = {
  '/sys/hypervisor/type': 'xen\n',
  '/sys/hypervisor/version/major': '4\n',
  '/sys/hypervisor/version/minor': '17\n',
  '/sys/hypervisor/version/extra': '.5\n',
  '/proc/xen/capabilities': 'control_d\n',
  '/proc/modules': 'xen_gntdev 45056 0 - Live 0x0\nxen_privcmd 20480 1 xenfs, Live 0x0\n',
  '/proc/sys/vm/max_map_count': '65530\n',
  '/sys/module/xen_gntalloc/parameters/limit': '1024\n',
  '/dev/xen/privcmd': '',
  '/dev/xen/gntdev': '',
  '/dev/xen/gntalloc': '',
  '/dev/xen/evtchn': '',
}

let root = ''

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'xmc-doctor-'))
})

afterEach(() => {
  rmSync(root, { recursive: true })
})

/** Puts files into the root, which it returns. */
function writeFiles(files: Readonly<Record<string, string>>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), content)
  }
  return root
}

/** The report over a root with these files, for root, with Xen's libraries. */
function reportOf(files: Readonly<Record<string, string>>, effectiveUserId = 0) {
  writeFiles(files)
  return doctor({
    root,
    effectiveUserId,
    loadLibrary: () => {},
    probeDeviceModels: () => constants.errno.ESRCH,
  })
}

function without(...paths: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(DOM0).filter(([path]) => !paths.includes(path)))
}

describe('doctor', () => {
  it('finds nothing missing in a dom0', () => {
    const { usable, checks } = reportOf(DOM0)
    expect(usable).toBe(true)
    expect(
      checks
        .filter(({ name }) => name !== 'platform' && name !== 'address space')
        .map(({ subject, name, status, found }) => [subject, name, status, found]),
    ).toEqual([
      ['hypervisor', 'hypervisor', 'ok', 'Xen 4.17.5'],
      ['privilege', 'control domain', 'ok', 'this is the control domain'],
      ['privilege', 'user', 'ok', 'root'],
      ['device', '/dev/xen/privcmd', 'ok', 'can be opened, for foreign memory'],
      ['module', 'xen-privcmd', 'ok', 'loaded'],
      ['device', '/dev/xen/gntdev', 'ok', 'can be opened, for granted pages'],
      ['module', 'xen-gntdev', 'ok', 'loaded'],
      ['device', '/dev/xen/evtchn', 'ok', 'can be opened, for event channels'],
      ['module', 'xen-evtchn', 'ok', 'part of the kernel'],
      ['device', '/dev/xen/gntalloc', 'ok', 'can be opened, for sharing pages of this domain'],
      ['module', 'xen-gntalloc', 'ok', 'part of the kernel'],
      ['hypervisor', 'device models', 'ok', 'Xen has ioreq servers'],
      ['limit', 'vm.max_map_count', 'ok', '65530 memory areas; a mapping takes up to two'],
      ['limit', 'gntalloc limit', 'ok', '1024 pages shared at a time by all programs'],
      ['library', 'libxendevicemodel.so.1', 'ok', 'there; not needed by this package'],
      ['library', 'libxenforeignmemory.so.1', 'ok', 'there; not needed by this package'],
      ['library', 'libxengnttab.so.1', 'ok', 'there; not needed by this package'],
      ['library', 'libxenevtchn.so.1', 'ok', 'there; not needed by this package'],
    ])
  })

  it('says of a machine without Xen what is missing, and what to do', () => {
    const { usable, checks } = reportOf({ '/proc/sys/vm/max_map_count': '65530\n' })
    expect(usable).toBe(false)
    expect(checks.filter(({ status }) => status === 'missing')).toEqual([
      {
        subject: 'hypervisor',
        name: 'hypervisor',
        required: true,
        status: 'missing',
        found: 'none, not Xen',
        remedy: 'run in a domain of Xen, its control domain for the memory of other domains',
      },
      ...['privcmd', 'gntdev', 'evtchn'].map((device) => ({
        subject: 'device',
        name: `/dev/xen/${device}`,
        required: true,
        status: 'missing',
        found: expect.stringContaining('cannot be opened (ENOENT)'),
        remedy: expect.stringContaining(`modprobe xen-${device}`),
      })),
    ])
  })

  it.each(['privcmd', 'gntdev', 'evtchn'])('needs /dev/xen/%s', (device) => {
    expect(reportOf(without(`/dev/xen/${device}`)).usable).toBe(false)
  })

  it('does not need gntalloc, and notes that it is not there', () => {
    const { usable, checks } = reportOf(without('/dev/xen/gntalloc'))
    expect(usable).toBe(true)
    expect(checks.find(({ name }) => name === '/dev/xen/gntalloc')).toMatchObject({
      status: 'note',
      required: false,
    })
    expect(checks.find(({ name }) => name === 'xen-gntalloc')).toMatchObject({
      status: 'note',
      remedy: 'modprobe xen-gntalloc, under Xen',
    })
  })

  it.each([
    [constants.errno.ENOSYS, 'Xen has no ioreq servers', 'CONFIG_IOREQ_SERVER'],
    [constants.errno.EPERM, 'this domain may not be a device model (EPERM)', 'control domain'],
    [constants.errno.ENOTTY, 'unknown, Xen could not be asked (ENOTTY)', 'nothing'],
    [undefined, 'unknown, Xen could not be asked', 'nothing'],
  ])(
    'notes with errno %s of the probe that there can be no device model',
    (errno, found, remedy) => {
      const { usable, checks } = doctor({ root, probeDeviceModels: () => errno })
      const check = checks.find(({ name }) => name === 'device models')
      expect(check).toMatchObject({ status: 'note', required: false, found })
      expect(check?.remedy ?? 'nothing').toContain(remedy)
      expect(usable).toBe(false)
    },
  )

  it('asks Xen through privcmd where that can be opened', () => {
    const { checks } = doctor({ root: writeFiles(DOM0) })
    // A plain file stands for the device here.
    expect(checks.find(({ name }) => name === 'device models')?.found).toBe(
      'unknown, Xen could not be asked (ENOTTY)',
    )
  })

  it('does not take another hypervisor for Xen', () => {
    const { usable, checks } = reportOf({ ...DOM0, '/sys/hypervisor/type': 'kvm\n' })
    expect(usable).toBe(false)
    expect(checks.find(({ name }) => name === 'hypervisor')?.found).toBe('kvm, not Xen')
  })

  it('notes another domain than the control domain, an unmounted xenfs and another user', () => {
    const guest = reportOf({ ...DOM0, '/proc/xen/capabilities': '\n' }, 1000)
    const remedies = (checks: typeof guest.checks) =>
      checks.filter(({ subject }) => subject === 'privilege').map(({ remedy }) => remedy)
    expect(guest.usable).toBe(true)
    expect(remedies(guest.checks)).toEqual([
      'grants and event channels work here; for foreign memory run in the control domain',
      'the devices are usually for root alone: run as root where they cannot be opened',
    ])
    rmSync(join(root, 'proc/xen'), { recursive: true })
    const { checks } = doctor({ root, effectiveUserId: 0 })
    expect(remedies(checks)).toEqual(['mount -t xenfs xenfs /proc/xen', undefined])
  })

  it('notes a small limit of memory areas, and what to set', () => {
    const { checks } = reportOf({ ...DOM0, '/proc/sys/vm/max_map_count': '1024\n' })
    expect(checks.find(({ name }) => name === 'vm.max_map_count')).toMatchObject({
      status: 'note',
      remedy: 'sysctl vm.max_map_count=65530',
    })
  })

  it('notes libraries that are not there', () => {
    const report = doctor({
      root,
      loadLibrary: (soname) => {
        if (soname !== 'libxengnttab.so.1') throw new Error('no such library')
      },
    })
    expect(
      report.checks.filter(({ subject }) => subject === 'library').map(({ status }) => status),
    ).toEqual(['note', 'note', 'ok', 'note'])
  })
})

describe('formatDoctorReport', () => {
  it('is a line for each check, what to do below it, and a verdict', () => {
    const check = { subject: 'device', required: true } as const
    const report = {
      usable: false,
      checks: [
        { ...check, name: 'a', status: 'ok', found: 'there', remedy: undefined } as const,
        { ...check, name: 'long', status: 'missing', found: 'nothing', remedy: 'get it' } as const,
      ],
    }
    expect(formatDoctorReport(report)).toBe(
      [
        'ok       a     there',
        'missing  long  nothing',
        '               → get it',
        'Xen cannot be used from this process; @xmc/sim has the same interfaces without it.',
        '',
      ].join('\n'),
    )
    expect(formatDoctorReport({ ...report, usable: true })).toContain('Xen can be used')
  })
})
