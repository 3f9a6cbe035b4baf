// One workload in a process of its own, so that no figure depends on what ran before. Prints the figure.
import process from 'node:process'
import { consumed, EFFORTS, measure } from './measure.ts'
import { growthPoints, workloads } from './workloads/all.ts'

const [id, effort] = process.argv.slice(2)
const workload = [...workloads, ...growthPoints].find((one) => one.id === id)
if (workload === undefined) throw new Error(`no workload is called ${id}`)
const figure = await measure(workload, effort === 'quick' ? EFFORTS.quick : EFFORTS.full)
process.stdout.write(`${JSON.stringify({ figure, consumed })}\n`)
