// One attack in a process of its own, so that no figure depends on what an attack has left. Prints what it did.
import process from 'node:process'
import { attacks } from './hostile/attacks/all.ts'
import { duel } from './hostile/duel.ts'

const [id, addressing, effort] = process.argv.slice(2)
const attack = attacks.find((one) => one.id === id)
if (attack === undefined || (addressing !== 'grants' && addressing !== 'foreign')) {
  throw new Error(`no attack is called ${id}, by ${addressing}`)
}
const result = await duel(
  attack,
  addressing,
  effort === 'quick' ? { warmUp: 100, measured: 300 } : { warmUp: 500, measured: 3000 },
)
process.stdout.write(`${JSON.stringify(result)}\n`)
