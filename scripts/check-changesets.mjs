// @ts-check
// Checks that the pending changesets make a release plan, or that there is nothing left to release.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import getReleasePlan from '@changesets/get-release-plan'
import { root } from './lib/root.mjs'
import { listPackages } from './lib/workspace.mjs'

const packages = (await listPackages()).filter(({ manifest }) => !manifest.private)
const plan = await getReleasePlan(root)

const problems = plan.changesets
  .filter(({ summary, releases }) => summary.trim() === '' || releases.length === 0)
  .map(({ id }) => `.changeset/${id}.md names no package or does not say what changed`)

for (const { name, folder, manifest } of packages) {
  const release = plan.releases.find((candidate) => candidate.name === name)
  if (release && release.changesets.length > 0) continue
  const changelog = join(folder, 'CHANGELOG.md')
  const released =
    existsSync(changelog) && readFileSync(changelog, 'utf8').includes(`\n## ${manifest.version}\n`)
  if (!released) {
    problems.push(
      `${name} ${manifest.version} is in no changelog and no changeset: add one with "npm run changeset"`,
    )
  }
}

for (const { name, oldVersion, newVersion, type } of plan.releases) {
  if (type !== 'none') process.stdout.write(`${name} ${oldVersion} -> ${newVersion} (${type})\n`)
}
for (const problem of problems) process.stderr.write(`${problem}\n`)
process.exitCode = problems.length > 0 ? 1 : 0
