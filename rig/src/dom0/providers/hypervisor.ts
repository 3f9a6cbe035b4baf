import { type DomainEnd, XenHypervisor } from '@xmc/arm-virt'
import type { GuestControl, HypervisorCase, HypervisorProvider } from '@xmc/board-contract'
import type { Unavailable } from '@xmc/contract'
import { reservedFrames } from '../../guest/memory-layout.ts'
import { destroyDomain, shutDownDomain } from '../domain-control.ts'
import { Guest, guestDomain } from '../guest.ts'
import { NO_MORTAL_LEFT, nextMortal } from '../mortal-guests.ts'

/**
 * What a shell gives for a command that a signal ended, since nobody answers for the address that it touched: SIGKILL is what
 * Linux 6.12 was seen to send for Xen's abort, SIGBUS what it sends for others.
 */
const nobodyAnswers: ReadonlySet<number> = new Set([128 + 7, 128 + 9])

/** `SHUTDOWN_crash` */
const crashed = 3

/** Real Xen, attached to a guest of the rig as its device model. */
export async function guestHypervisor(
  contractCase: Pick<HypervisorCase, 'requires'>,
): Promise<HypervisorProvider> {
  const mortal = contractCase.requires.includes('ending') ? nextMortal() : undefined
  const domain = mortal ?? guestDomain
  let connected: Promise<Guest> | undefined
  // To be ended a guest need not do anything.
  const connect = (): Promise<Guest> => (connected ??= Guest.connect(domain))
  const hypervisor = XenHypervisor.attach(domain)
  const grants: { revoke(): Promise<void> }[] = []
  let ended = false
  return {
    hypervisor,
    spare: BigInt(reservedFrames.first) << 12n,
    capabilities: {
      guest: {
        access: async (access) => accessOf(await connect(), access),
        store: async (address, value) => {
          const frame = Number(address >> 12n)
          await (await connect()).write(frame, Number(address & 4095n), Uint8Array.of(value))
        },
        grant: async (offset, value) => {
          const grant = await (await connect()).grant(1)
          grants.push(grant)
          await grant.write(0, offset, Uint8Array.of(value))
          return grant.references[0] ?? 0
        },
      },
      processors: { unavailable: 'the guests of the rig have one virtual CPU' },
      interrupts: { unavailable: 'Xen shows a guest no levels of its lines' },
      ballooning: { giveUp: async () => giveUp(await connect()) },
      ending:
        mortal === undefined
          ? unavailableEnding(contractCase)
          : {
              end: async (how: DomainEnd) => {
                ended = true
                if (how === 'destroyed') await destroyDomain(domain)
                // Linux on Arm does not tell Xen of a crash of its own.
                else if (how === 'crashed') shutDownDomain(domain, crashed)
                else await (await connect()).powerOff()
              },
            },
    },
    async close() {
      hypervisor.close()
      if (!ended) for (const grant of grants) await grant.revoke()
    },
  }
}

async function accessOf(
  guest: Guest,
  { address, size, write, data = 0n }: Parameters<GuestControl['access']>[0],
): Promise<bigint> {
  const value = write ? ` 0x${data.toString(16)}` : ''
  const command = `devmem 0x${address.toString(16)} ${size * 8}${value}`
  const { code, output } = await guest.run(command)
  if (nobodyAnswers.has(code)) return 0n
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${output}`)
  return write ? 0n : BigInt(output.trim())
}

/** Lets the guest's balloon take a MiB. */
async function giveUp(guest: Guest): Promise<void> {
  const target = '/sys/devices/system/xen_memory/xen_memory0/target_kb'
  const command = `echo $(($(cat ${target}) - 1024)) > ${target}`
  const { code, output } = await guest.run(command)
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${output}`)
}

function unavailableEnding({ requires }: Pick<HypervisorCase, 'requires'>): Unavailable {
  return requires.includes('ending')
    ? { unavailable: NO_MORTAL_LEFT }
    : { unavailable: 'all cases share this guest' }
}
