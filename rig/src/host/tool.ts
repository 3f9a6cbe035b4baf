import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { RigError } from './errors.ts'

/** How a tool is run. */
export interface ToolOptions {
  /** Folder to run it in. */
  readonly folder?: string
  /** Variables beside those of this process. */
  readonly variables?: Readonly<Record<string, string>>
  /** What it reads from standard input; nothing by default. */
  readonly input?: string
  /** Ends the tool. */
  readonly signal?: AbortSignal
}

/**
 * Runs a tool of the host and resolves with its standard output, decoded as UTF-8.
 *
 * @throws RigError with the command line and what the tool printed, when it cannot be started or ends
 *   with anything but 0
 */
export function runTool(
  tool: string,
  parameters: readonly string[],
  options: ToolOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, parameters, {
      stdio: 'pipe',
      ...(options.folder !== undefined && { cwd: options.folder }),
      env: { ...process.env, LC_ALL: 'C.UTF-8', ...options.variables },
      ...(options.signal && { signal: options.signal }),
    })
    let output = ''
    let complaints = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text))
    child.on('error', (cause) => {
      reject(new RigError(`${tool} could not be run: ${cause.message}`, { cause }))
    })
    child.on('close', (code, ended) => {
      if (code === 0) return resolve(output)
      const how = ended ? `was ended by ${ended}` : `ended with ${code}`
      const said = (complaints || output).trim()
      reject(new RigError(`${tool} ${parameters.join(' ')} ${how}${said && `:\n${said}`}`))
    })
    // A tool that ends before it has read its input is judged by its exit code.
    child.stdin.on('error', () => {})
    child.stdin.end(options.input ?? '')
  })
}

/** Whether `PATH` has an executable file of this name. */
export function hasTool(tool: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
