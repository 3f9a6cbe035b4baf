import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { runCommandLine } from '../../src/cli.ts'
import type { CommandEnvironment } from '../../src/commands/environment.ts'

/** What a command line did. */
export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command line in this process. */
export async function runCommand(
  parameters: readonly string[],
  environment: Pick<
    CommandEnvironment,
    'signal' | 'openDisk' | 'attach' | 'onServing' | 'examine'
  > = {},
): Promise<CommandResult> {
  let stdout = ''
  let stderr = ''
  const code = await runCommandLine(parameters, {
    ...environment,
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
  })
  return { code, stdout, stderr }
}

/** A folder that is removed when the test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'arm-virt-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

/** A file with these bytes, in a folder that is removed when the test ends. */
export function temporaryFile(content: Uint8Array, name: string = 'disk.img'): string {
  const path = join(temporaryFolder(), name)
  writeFileSync(path, content)
  return path
}
