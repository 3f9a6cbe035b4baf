import { parsePart } from './part.ts'
import { reportCase, reportComplete } from './report.ts'
import { describe } from './suite.ts'
import { deviceModelSuites, suites } from './suites.ts'

/**
 * Runs the suites named on the command line, by default all that need no ioreq servers, and reports each case to the host.
 * With `--part=N/M` every Mth of them, from the Nth on.
 */
async function runSuites(parameters: readonly string[]): Promise<number> {
  const { names, part } = parsePart(parameters)
  const all = [...suites, ...deviceModelSuites]
  const unknown = names.filter((name) => !all.some((suite) => suite.name === name))
  if (unknown.length > 0) {
    const known = all.map(({ name }) => name).join(', ')
    process.stdout.write(`no suite is named ${unknown.join(', ')}: there are ${known}\n`)
    return 2
  }
  let failed = 0
  const named = names.length === 0 ? suites : all.filter(({ name }) => names.includes(name))
  for (const suite of part.of(named)) {
    const started = performance.now()
    try {
      for await (const result of suite.run()) {
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
