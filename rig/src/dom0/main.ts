import { version } from 'koffi'
import { reportCase, reportComplete } from './report.ts'

reportCase({
  suite: 'smoke',
  id: 'R1',
  title: 'Node and koffi run in dom0',
  outcome: version === '' ? 'failed' : 'passed',
  milliseconds: 0,
})
reportComplete()
