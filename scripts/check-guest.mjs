// @ts-check
// Lets Linux guests use disks that an emulated dom0 serves. What boots is built first, where there is time for it:
// `--seconds-left=N` says how much; without it there is enough.
import { parameters, report } from './lib/report.mjs'
import { checkWithRig } from './lib/rig-check.mjs'

const option = '--seconds-left='

/** What building and the run after it take at most, on two processors. */
const buildingSeconds = 17 * 60

const given = parameters().find((parameter) => parameter.startsWith(option))
const secondsLeft = given === undefined ? Infinity : Number(given.slice(option.length))
const mayBuild = secondsLeft >= buildingSeconds

await report('guest', async () => {
  const rows = await checkWithRig('guest', 'test-xen-guest.mjs', mayBuild ? [] : ['--no-build'])
  const unbuilt = rows.some(({ skipped, passed, failed }) => skipped > 0 && passed + failed === 0)
  if (!mayBuild && unbuilt) {
    rows[0]?.notes.push(
      `there were ${secondsLeft} seconds left for this, and with a build it may take ${buildingSeconds}`,
    )
  }
  return rows
})
