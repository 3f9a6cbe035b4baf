import { SimulatedHypervisor } from '@xmc/arm-virt'
import type { HypervisorProvider } from '../src/index.ts'

/** Frames behind the spare ones. */
const GRANTED_FRAME = 0x40010
const BALLOON_FRAME = 0x40011

/** The simulator with a guest of 32 MiB and two virtual CPUs. */
export function simulatedHypervisor(): HypervisorProvider {
  const hypervisor = SimulatedHypervisor.create({
    memoryBytes: 32 * 2 ** 20,
    virtualCpus: 2,
    grantFrames: 4,
  })
  const { guest, simulator } = hypervisor
  return {
    hypervisor,
    spare: 0x4000_0000n,
    capabilities: {
      guest: {
        access: ({ virtualCpu = 0, ...access }) =>
          guest.ioreq.access({ ...access, vcpu: virtualCpu }),
        store: (address, value) => guest.memory.writeUint8(Number(address), value),
        grant: (offset, value) => {
          guest.memory.writeUint8(GRANTED_FRAME * 4096 + offset, value)
          return guest.grants.share([GRANTED_FRAME], { to: 0 })[0] ?? 0
        },
      },
      processors: {},
      interrupts: { interruptLevel: (line) => simulator.interrupts.level(guest.id, line) },
      ballooning: { giveUp: () => guest.depopulate(BALLOON_FRAME) },
      ending: {
        end: (how) => {
          if (how === 'shutdown') guest.shutdown()
          else if (how === 'crashed') guest.crash()
          else guest.destroy()
        },
      },
    },
    close: () => hypervisor.close(),
  }
}
