// Every workload in one process, some milliseconds of each in turn, as in a program that does all of it.
import process from 'node:process'
import { consumed, EFFORTS, Trial } from './measure.ts'
import { workloads } from './workloads/all.ts'

const effort =
  process.argv[2] === 'quick' ? EFFORTS.quick : { rounds: 41, batchNs: 5e6, warmUpNs: 200e6 }
const trials: Trial[] = []
for (const workload of workloads) trials.push(await Trial.start(workload, effort))
for (let round = 0; round < effort.rounds; round++) {
  for (const trial of trials) await trial.round()
}
for (const trial of trials) await trial.close()
const figures = Object.fromEntries(trials.map((trial) => [trial.workload.id, trial.figure()]))
process.stdout.write(`${JSON.stringify({ figures, consumed })}\n`)
