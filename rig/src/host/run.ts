import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { CaseResult } from '../console/protocol.ts'
import { wanted, wantedOffset } from '../guest/mailbox.ts'
import { guestKibibytes, linuxMebibytes, mailboxFrames } from '../guest/memory-layout.ts'
import { ArtefactCache } from './artefacts/artefact-cache.ts'
import { DebianPackages } from './artefacts/debian-packages.ts'
import { ensureHostTools, hostTools } from './artefacts/host-tools.ts'
import { NpmPackages } from './artefacts/npm-packages.ts'
import { InterruptedError } from './errors.ts'
import { writeInitramfs } from './images/initramfs.ts'
import { writePackagesLayer } from './images/packages-layer.ts'
import { systemLayer } from './images/system-layer.ts'
import { type BootName, prepareBoot } from './machine/boot.ts'
import { runEmulator } from './machine/emulator.ts'
import { prepareMachine } from './machine/machine.ts'
import type { DiskAddressing } from './machine/virtio-devices.ts'
import type { Progress } from './progress.ts'
import { ProgressWatch } from './progress-watch.ts'
import { RunRecord } from './run-record.ts'

const rigFolder = fileURLToPath(new URL('../../', import.meta.url))

/** The program of the rig's own suites, relative to the rig. */
const suitesProgram = 'dist/dom0/main.js'

/** Lines of the console that explain a machine that did not get as far as dom0. */
const tailLines = 40

/** Linux hands what it does not know to the guest's first process, as variables. */
const guestArguments = [
  'console=ttyAMA0',
  'rdinit=/init-guest',
  'loglevel=4',
  'panic=1',
  `mem=${linuxMebibytes}M`,
  `wanted_address=0x${(mailboxFrames.first * 4096 + wantedOffset).toString(16)}`,
  `wanted=0x${wanted.toString(16).toUpperCase()}`,
].join(' ')

/** Time that dom0 may take to power off once its program has ended; then the emulator is killed. */
const powerOffSeconds = 10

/** What is to be run in dom0. */
export interface RunOptions {
  /** A program of the caller's; without it, the rig's suites. */
  readonly file?: string
  /** For the program; for the suites, the names of those to run. */
  readonly parameters: readonly string[]
  /** Files and folders that are put beside the program. */
  readonly beside: readonly string[]
  /** What boots. */
  readonly boot: BootName
  /** Whether what boots may be built, where it is not in the cache. */
  readonly mayBuild: boolean
  /** How many guests start with dom0. */
  readonly guests: number
  /** How the guests' drivers hand memory to their two disks; without it guests have no transports for disks. */
  readonly disks?: DiskAddressing | undefined
  /** Seconds without progress after which the emulator is killed, on a machine that has a processor for it. */
  readonly patienceSeconds: number
  /** Seconds after which it is killed, whatever happens; undefined for no such limit. */
  readonly limitSeconds?: number | undefined
  /** Where downloads and builds are kept. */
  readonly cacheFolder: string
  /** Name of the file in the cache that all of the console goes to; `console.log` by default. */
  readonly consoleName?: string
  /** Ends the run. */
  readonly signal: AbortSignal
  /** Is called when all that is needed is there, and the machine is about to boot. */
  onPrepared?(): void
  /** Gets what dom0 prints, line by line; everything on the console when {@link verbose}. */
  onText(line: string): void
  onCase(result: CaseResult): void
  readonly verbose: boolean
}

/** What became of a run. */
export interface RunOutcome {
  readonly cases: readonly CaseResult[]
  /** What went wrong beside failed cases, one sentence each. */
  readonly problems: readonly string[]
  /** Exit code of dom0's program; undefined when it did not end. */
  readonly exitCode: number | undefined
  /** File with all that was on the console. */
  readonly console: string
  /** Last lines of the console, when the machine did not get as far as dom0. */
  readonly tail: readonly string[]
}

/**
 * Boots Xen with dom0 and a guest, runs a program in dom0, and powers the machine off.
 *
 * @throws RigUnavailableError when this machine lacks what the rig needs
 * @throws InterruptedError when the signal was raised
 */
export async function runInDom0(options: RunOptions, progress: Progress): Promise<RunOutcome> {
  const cache = new ArtefactCache(options.cacheFolder)
  await ensureHostTools(hostTools, progress)
  const npm = new NpmPackages(cache, progress)
  const debian = new DebianPackages(cache, progress)
  const { hypervisor, kernel } = await prepareBoot(options.boot, cache, debian, progress, options)
  const system = await systemLayer(kernel, cache, debian, npm, progress)
  const folder = await cache.workFolder('run')
  try {
    const layer = join(folder, 'layer')
    await writePackagesLayer(
      layer,
      {
        rig: rigFolder,
        program: options.file === undefined ? suitesProgram : basename(options.file),
        parameters: options.parameters,
        files: [...(options.file === undefined ? [] : [options.file]), ...options.beside],
      },
      npm,
    )
    const packages = join(folder, 'packages.cpio')
    await writeInitramfs(layer, packages)
    const images = { kernel: kernel.image, initramfs: [system, packages] }
    const parameters = await prepareMachine(folder, {
      hypervisor: hypervisor.image,
      dom0: images,
      dom0Mebibytes: 1536,
      guests: Array.from({ length: options.guests }, () => ({
        ...images,
        memoryKibibytes: guestKibibytes,
        disks: options.disks,
        bootArguments: guestArguments,
      })),
      xenLog: options.verbose ? 'info' : 'warning',
    })
    options.signal.throwIfAborted()
    options.onPrepared?.()
    progress.say(`booting ${hypervisor.description} and ${kernel.description}`)
    return await boot(folder, parameters, options)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function boot(
  folder: string,
  parameters: readonly string[],
  options: RunOptions,
): Promise<RunOutcome> {
  const file = join(folder, 'console.log')
  const lastRun = join(options.cacheFolder, options.consoleName ?? 'console.log')
  const log = createWriteStream(file)
  const record = new RunRecord()
  const tail: string[] = []
  const overdue = new AbortController()
  const watch = new ProgressWatch({
    patienceSeconds: options.patienceSeconds,
    onStuck: () => overdue.abort(),
  })
  let powerOff: NodeJS.Timeout | undefined
  const end = await runEmulator({
    parameters,
    limitSeconds: options.limitSeconds,
    signal: AbortSignal.any([options.signal, overdue.signal]),
    onLine: (line) => {
      log.write(`${line}\n`)
      const { text, stage, result, isProgress } = record.read(line)
      if (isProgress) watch.progressed()
      if (record.stage === 'ended') {
        powerOff ??= setTimeout(() => overdue.abort(), powerOffSeconds * 1000)
      }
      if (result !== undefined) options.onCase(result)
      if (text === undefined) return
      if (stage === 'running' || options.verbose) options.onText(text)
      if (stage === 'booting') tail.push(text)
      if (tail.length > tailLines) tail.shift()
    },
  }).finally(() => {
    watch.close()
    clearTimeout(powerOff)
    return new Promise<void>((resolve) => {
      log.end(resolve)
    })
  })
  // Whole, even where several runs end at the same time.
  await rename(file, lastRun)
  if (options.signal.aborted) throw asInterruption(options.signal.reason)
  return {
    cases: record.cases,
    problems: [
      ...(watch.isStuck ? [stuck(record, watch)] : []),
      ...record.problems(end, options.limitSeconds, options.file === undefined),
    ],
    exitCode: record.exitCode,
    console: lastRun,
    tail: record.stage === 'booting' ? tail : [],
  }
}

function stuck({ current }: RunRecord, { silentSeconds }: ProgressWatch): string {
  const where = current === undefined ? '' : ` in ${current}`
  return `the emulator was killed since nothing had happened${where} for ${silentSeconds} seconds`
}

function asInterruption(reason: unknown): Error {
  return reason instanceof Error ? reason : new InterruptedError('SIGTERM')
}
