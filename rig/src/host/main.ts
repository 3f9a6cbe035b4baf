import { cacheFolder } from './artefact-cache.ts'
import { Progress } from './progress.ts'
import { runInDom0 } from './run.ts'

const o = await runInDom0(
  {
    parameters: [],
    beside: [],
    guest: process.argv[2] === 'guest',
    limitSeconds: 120,
    cacheFolder: cacheFolder(process.env),
    signal: new AbortController().signal,
    onText: console.log,
    onCase: console.log,
    verbose: true,
  },
  new Progress(console.error),
)
console.log(o)
