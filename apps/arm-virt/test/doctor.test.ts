import type { DoctorReport } from '@xmc/xen'
import { describe, expect, it } from 'vitest'
import { runCommand } from './helpers/command.ts'

const USABLE: DoctorReport = {
  usable: true,
  checks: [
    {
      subject: 'device',
      name: '/dev/xen/gntdev',
      status: 'ok',
      required: true,
      found: 'can be opened',
      remedy: undefined,
    },
  ],
}

const UNUSABLE: DoctorReport = {
  usable: false,
  checks: [
    {
      subject: 'hypervisor',
      name: 'hypervisor',
      status: 'missing',
      required: true,
      found: 'none, not Xen',
      remedy: 'run in a domain of Xen',
    },
  ],
}

describe('doctor', () => {
  it('prints the report and ends well where Xen can be used', async () => {
    expect(await runCommand(['doctor'], { examine: () => USABLE })).toEqual({
      code: 0,
      stdout: 'ok       /dev/xen/gntdev  can be opened\nXen can be used from this process.\n',
      stderr: '',
    })
  })

  it('prints the report and ends with 1 where it cannot', async () => {
    expect(await runCommand(['doctor'], { examine: () => UNUSABLE })).toEqual({
      code: 1,
      stdout: [
        'missing  hypervisor  none, not Xen',
        '                     → run in a domain of Xen',
        'Xen cannot be used from this process; @xmc/sim has the same interfaces without it.',
        '',
      ].join('\n'),
      stderr: '',
    })
  })

  it('prints one JSON object with --json, and ends with the same code', async () => {
    const good = await runCommand(['doctor', '--json'], { examine: () => USABLE })
    expect(JSON.parse(good.stdout)).toEqual(JSON.parse(JSON.stringify(USABLE)))
    const bad = await runCommand(['doctor', '--json'], { examine: () => UNUSABLE })
    expect({ ...bad, stdout: JSON.parse(bad.stdout) }).toEqual({
      code: 1,
      stdout: UNUSABLE,
      stderr: '',
    })
  })

  it('looks at this machine by default', async () => {
    const { code, stdout } = await runCommand(['doctor', '--json'])
    const report: unknown = JSON.parse(stdout)
    expect(report).toMatchObject({
      usable: code === 0,
      checks: expect.arrayContaining([expect.objectContaining({ name: '/dev/xen/privcmd' })]),
    })
  })
})
