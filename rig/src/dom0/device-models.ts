import { doctor } from '@xmc/xen'
import type { Suite } from './suite.ts'

/** A suite that is skipped, case by case, on a Xen without ioreq servers. */
export function needingDeviceModels(suite: Suite): Suite {
  return {
    ...suite,
    async *run(ids, onBegin) {
      const check = doctor().checks.find((each) => each.name === 'device models')
      if (check?.status === 'ok') {
        yield* suite.run(ids, onBegin)
        return
      }
      const detail = `${check?.found ?? 'nothing is known of device models'}: run it with --boot device-model`
      for (const { id, title } of suite.cases.filter((each) => ids.has(each.id))) {
        yield { suite: suite.name, id, title, outcome: 'skipped', milliseconds: 0, detail }
      }
    },
  }
}
