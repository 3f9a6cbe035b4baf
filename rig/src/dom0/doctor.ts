import { deepEqual, equal, match } from 'node:assert/strict'
import { doctor, formatDoctorReport } from '@xmc/xen'
import { caseSuite, type Suite } from './suite.ts'

/** What the doctor finds in a dom0 that has everything. */
export const theDoctor: Suite = caseSuite('doctor', [
  {
    id: 'D1',
    title: 'nothing is missing in dom0, but device models where Xen was built without them',
    run() {
      const report = doctor()
      equal(report.usable, true)
      const missing = report.checks.filter(({ status }) => status !== 'ok')
      deepEqual(
        missing.filter(({ name, status }) => name !== 'device models' || status !== 'note'),
        [],
      )
      match(formatDoctorReport(report), /^ok +hypervisor +Xen 4\.\d+/m)
    },
  },
])
