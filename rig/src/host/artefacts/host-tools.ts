import { RigUnavailableError } from '../errors.ts'
import type { Progress } from '../progress.ts'
import { hasTool, runTool } from '../tool.ts'

/** A program the rig runs on the host, and the Debian package that has it. */
export interface HostTool {
  readonly program: string
  readonly debianPackage: string
}

/** What every run needs. */
export const hostTools: readonly HostTool[] = [
  { program: 'qemu-system-aarch64', debianPackage: 'qemu-system-arm' },
  { program: 'dtc', debianPackage: 'device-tree-compiler' },
  { program: 'cpio', debianPackage: 'cpio' },
]

/** What building a hypervisor or a kernel for arm64 needs beside that. */
export const crossBuildTools: readonly HostTool[] = [
  { program: 'aarch64-linux-gnu-gcc', debianPackage: 'gcc-aarch64-linux-gnu' },
  { program: 'gcc', debianPackage: 'build-essential' },
  { program: 'make', debianPackage: 'build-essential' },
  { program: 'bc', debianPackage: 'bc' },
  { program: 'bison', debianPackage: 'bison' },
  { program: 'flex', debianPackage: 'flex' },
  { program: 'python3', debianPackage: 'python3' },
  { program: 'xz', debianPackage: 'xz-utils' },
]

/** What is known of the machine when tools are missing. */
export interface HostFacts {
  /** Whether `apt-get` is there. */
  readonly apt: boolean
  /** Whether this process may install packages. */
  readonly root: boolean
}

/**
 * Why missing tools cannot be installed, and what to do, as one message; undefined when they can be.
 */
export function whyNotInstallable(
  missing: readonly HostTool[],
  facts: HostFacts,
): string | undefined {
  const programs = missing.map(({ program }) => program).join(', ')
  const command = `apt-get install --no-install-recommends ${packagesOf(missing).join(' ')}`
  if (!facts.apt) {
    return (
      `${programs} not found, and there is no apt-get to install it with: the rig runs on Debian 12; ` +
      'elsewhere install the emulator of your distribution, and apt and dpkg to read Debian packages'
    )
  }
  if (!facts.root) {
    return `${programs} not found, and only root can install it: run "sudo ${command}", then try again`
  }
  return undefined
}

/**
 * Makes sure that the programs are there, installing Debian packages for those that are not.
 *
 * @throws RigUnavailableError when this machine cannot install them
 */
export async function ensureHostTools(
  tools: readonly HostTool[],
  progress: Progress,
): Promise<void> {
  const missing = tools.filter(({ program }) => !hasTool(program))
  if (missing.length === 0) return
  const reason = whyNotInstallable(missing, {
    apt: hasTool('apt-get'),
    root: process.getuid?.() === 0,
  })
  if (reason !== undefined) throw new RigUnavailableError(reason)
  const packages = packagesOf(missing)
  await progress.step(`installing ${packages.join(', ')}`, () => install(packages))
  const absent = missing.filter(({ program }) => !hasTool(program))
  if (absent.length > 0) {
    const programs = absent.map(({ program }) => program).join(', ')
    throw new RigUnavailableError(
      `${programs} not found, though apt-get has installed ${packages.join(', ')}: is PATH complete?`,
    )
  }
}

function packagesOf(tools: readonly HostTool[]): string[] {
  return [...new Set(tools.map(({ debianPackage }) => debianPackage))]
}

async function install(packages: readonly string[]): Promise<void> {
  const variables = { DEBIAN_FRONTEND: 'noninteractive' }
  const aptInstall = () =>
    runTool('apt-get', ['install', '--yes', '--no-install-recommends', ...packages], { variables })
  try {
    await runTool('apt-get', ['update'], { variables })
    await aptInstall()
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    const error = /^E: (?<text>.*)$/m.exec(message)?.groups?.['text'] ?? message
    throw new RigUnavailableError(
      `apt-get could not install ${packages.join(', ')}: ${error}; check the network and the package sources`,
      { cause },
    )
  }
}
