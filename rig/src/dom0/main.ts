import { reportBegin, reportCase, reportComplete } from './report.ts'
import { selectCases } from './selection.ts'
import { describe } from './suite.ts'
import { deviceModelSuites, suites } from './suites.ts'

/** Runs the cases that the command line selects, as {@link selectCases} has it, and reports each to the host. */
async function runSuites(parameters: readonly string[]): Promise<number> {
  const { selected, unknown } = selectCases(parameters, suites, deviceModelSuites)
  if (unknown.length > 0) {
    const known = [...suites, ...deviceModelSuites].map(({ name }) => name).join(', ')
    process.stdout.write(
      `no suite or case is named ${unknown.join(', ')}: there are ${known}, and their cases as in smoke/R1\n`,
    )
    return 2
  }
  let failed = 0
  for (const { suite, ids } of selected) {
    const started = performance.now()
    try {
      for await (const result of suite.run(ids, (id) => reportBegin(suite.name, id))) {
        if (result.outcome === 'failed') failed += 1
        reportCase(result)
      }
    } catch (error) {
      failed += 1
      reportCase({
        suite: suite.name,
        id: 'suite',
        title: 'every case can be run',
        outcome: 'failed',
        milliseconds: performance.now() - started,
        detail: describe(error),
      })
    }
  }
  reportComplete()
  return failed > 0 ? 1 : 0
}

process.exitCode = await runSuites(process.argv.slice(2))
