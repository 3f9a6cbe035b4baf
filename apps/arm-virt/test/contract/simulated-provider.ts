import { SimulatedHypervisor } from '../../src/providers/sim-hypervisor.ts'
import type { HypervisorProvider } from './provider.ts'

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
    capabilities: {
      guest: {
        access: ({ virtualCpu = 0, ...access }) =>
          guest.ioreq.access({ ...access, vcpu: virtualCpu }),
        interruptLevel: (line) => simulator.interrupts.level(guest.id, line),
        store: (address, value) => guest.memory.writeUint8(Number(address), value),
        grant: (address) => guest.grants.share([Number(address >> 12n)], { to: 0 })[0] ?? 0,
      },
      ballooning: { giveUp: (address) => guest.depopulate(Number(address >> 12n)) },
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
