import { deepEqual, equal, match } from 'node:assert/strict'
import { doctor, formatDoctorReport } from '@xmc/xen'
import { caseSuite, type Suite } from './suite.ts'

/** What the doctor finds in a dom0 that has everything. */
export const theDoctor: Suite = caseSuite('doctor', [
  {
    id: 'D1',
    title: 'nothing is missing in dom0',
    run() {
      const report = doctor()
      equal(report.usable, true)
      deepEqual(
        report.checks.filter(({ status }) => status !== 'ok'),
        [],
      )
      match(formatDoctorReport(report), /^ok +hypervisor +Xen 4\.\d+/m)
    },
  },
])
