import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  FOREIGN_BUCKET_SHIFT,
  MCACHE_MAX_SIZE,
  NON_MCACHE_MEMORY_SIZE,
  planAddressSpace,
  UNLIMITED,
} from '../src/index.ts'
import { runChild } from './helpers/child.ts'
import { hardLimitOfAddressSpace } from './helpers/machine.ts'

const unlimited = { soft: UNLIMITED, hard: UNLIMITED }

describe('planAddressSpace', () => {
  it('has the constants of the reference', () => {
    expect(MCACHE_MAX_SIZE).toEqual({ 32: 2_147_483_648, 64: 34_359_738_368 })
    expect(NON_MCACHE_MEMORY_SIZE).toBe(83_886_080)
    expect(FOREIGN_BUCKET_SHIFT).toEqual({ 32: 16, 64: 20 })
  })

  it('S1 root on a 64-bit host: 32 GiB, shift 20, limits lifted', () => {
    const situation = { uid: 0, soft: 4_294_967_296n, hard: 8_589_934_592n, hostBits: 64 } as const
    expect(planAddressSpace(situation)).toEqual({
      maximumBytes: 34_359_738_368,
      foreignBucketShift: 20,
      newLimits: unlimited,
    })
  })

  it('S2 a 32-bit host: 2 GiB, shift 16', () => {
    expect(planAddressSpace({ uid: 0, ...unlimited, hostBits: 32 })).toEqual({
      maximumBytes: 2_147_483_648,
      foreignBucketShift: 16,
      newLimits: unlimited,
    })
  })

  it('S3 uid 1000 with a hard limit of 4 GiB: a warning, 80 MiB less, soft becomes hard', () => {
    const hard = 4_294_967_296n
    expect(planAddressSpace({ uid: 1000, soft: 1_073_741_824n, hard, hostBits: 64 })).toEqual({
      maximumBytes: 4_211_081_216,
      foreignBucketShift: 20,
      newLimits: { soft: hard, hard },
      warning:
        'the address space of this process is limited to 4294967296 bytes (RLIMIT_AS), ' +
        'of which 4211081216 serve the mapcache: raise the hard limit for more',
    })
  })

  it('S4 a hard limit of exactly 32 GiB and 80 MiB: 32 GiB, and still the warning', () => {
    const hard = 34_443_624_448n
    const plan = planAddressSpace({ uid: 1000, soft: hard, hard, hostBits: 64 })
    expect(plan.maximumBytes).toBe(34_359_738_368)
    expect(plan.newLimits).toEqual({ soft: hard, hard })
    expect(plan.warning).toBe(
      'the address space of this process is limited to 34443624448 bytes (RLIMIT_AS), ' +
        'of which 34359738368 serve the mapcache: raise the hard limit for more',
    )
  })

  it('one byte less than S4 is one byte less', () => {
    const hard = 34_443_624_447n
    const plan = planAddressSpace({ uid: 1000, soft: hard, hard, hostBits: 64 })
    expect(plan.maximumBytes).toBe(34_359_738_367)
  })

  it.each([67_108_864, 0, 83_886_080])(
    'S5 a hard limit of %d leaves nothing: refused instead of wrapping around',
    (bytes) => {
      const hard = BigInt(bytes)
      expect(() => planAddressSpace({ uid: 1000, soft: 0n, hard, hostBits: 64 })).toThrow(
        expect.objectContaining({
          name: 'AddressSpaceLimitError',
          code: 'ERR_XMC_ADDRESS_SPACE_LIMIT',
          hard,
          reservedBytes: 83_886_080,
          message:
            `the hard limit of address space (RLIMIT_AS) is ${hard} bytes, of which 83886080 ` +
            'are kept for the rest of the process: nothing is left for a mapcache, raise the limit',
        }),
      )
    },
  )

  it('S6 what is left need not be whole buckets: 1 MiB and 4 KiB with shift 20', () => {
    const hard = 84_938_752n
    const plan = planAddressSpace({ uid: 1000, soft: hard, hard, hostBits: 64 })
    expect(plan.maximumBytes).toBe(1_052_672)
    expect(plan.foreignBucketShift).toBe(20)
  })

  it('an unlimited hard limit: the soft one is lifted, no warning', () => {
    const situation = { uid: 1000, soft: 1n, hard: UNLIMITED, hostBits: 64 } as const
    expect(planAddressSpace(situation)).toEqual({
      maximumBytes: 34_359_738_368,
      foreignBucketShift: 20,
      newLimits: unlimited,
    })
  })

  it.each([
    [{ uid: -1 }, 'uid: expected an integer from 0, got -1'],
    [{ uid: 0.5 }, 'uid: expected an integer from 0, got 0.5'],
    [{ hostBits: 16 }, 'hostBits: expected 32 or 64, got 16'],
    [{ hard: -1n }, 'hard: expected a bigint from 0 to 18446744073709551615, got -1'],
    [{ hard: 2n ** 64n }, 'hard: expected a bigint from 0 to 18446744073709551615, got 1844'],
    [{ hard: 4096 }, 'hard: expected a bigint from 0 to 18446744073709551615, got 4096'],
    [{ soft: 5n, hard: 4n }, 'soft: expected a bigint from 0 to 4, got 5'],
  ])('refuses situation %#', (part, message) => {
    const situation = { uid: 1000, ...unlimited, hostBits: 64, ...part }
    // @ts-expect-error not only sound situations are given here
    expect(() => planAddressSpace(situation)).toThrow(message)
  })
})

describe('raiseAddressSpaceLimit', () => {
  const program = new URL('children/address-space-limit.ts', import.meta.url)
  const none = UNLIMITED.toString()

  it('S1 leaves limits that are infinite alone', async ({ skip }) => {
    const limit = hardLimitOfAddressSpace()
    if (limit !== 'unlimited') return skip(`the hard limit of address space is ${limit} bytes here`)
    const { output } = await runChild(program, { addressSpaceKib: 'unlimited' })
    expect(output).toEqual({
      before: { soft: none, hard: none },
      outcome: {
        maximumBytes: 34_359_738_368,
        foreignBucketShift: 20,
        newLimits: { soft: none, hard: none },
      },
      after: { soft: none, hard: none },
    })
  })

  it('S3 uid 1000 under a hard limit of 4 GiB', async () => {
    const { output } = await runChild(program, {
      arguments: ['1000', '2147483648'],
      addressSpaceKib: 4_194_304,
    })
    expect(output).toEqual({
      before: { soft: '2147483648', hard: '4294967296' },
      outcome: {
        maximumBytes: 4_211_081_216,
        foreignBucketShift: 20,
        newLimits: { soft: '4294967296', hard: '4294967296' },
        warning:
          'the address space of this process is limited to 4294967296 bytes (RLIMIT_AS), ' +
          'of which 4211081216 serve the mapcache: raise the hard limit for more',
      },
      after: { soft: '4294967296', hard: '4294967296' },
    })
  })

  it('S1 root lifts a finite hard limit where it may, and reports EPERM where it may not', async () => {
    const { output } = await runChild(program, { addressSpaceKib: 4_194_304 })
    const finite = { soft: '4294967296', hard: '4294967296' }
    expect(output).toMatchObject({ before: finite, ...expectedUnder(finite) })
  })
})

interface Limits {
  readonly soft: string
  readonly hard: string
}

function expectedUnder(finite: Limits): { outcome: object; after: Limits } {
  if (process.geteuid?.() !== 0) {
    return { outcome: { maximumBytes: 4_211_081_216, newLimits: finite }, after: finite }
  }
  if (!mayRaiseLimits()) {
    return { outcome: { call: 'setrlimit', errnoName: 'EPERM' }, after: finite }
  }
  const lifted = { soft: UNLIMITED.toString(), hard: UNLIMITED.toString() }
  return { outcome: { maximumBytes: 34_359_738_368, newLimits: lifted }, after: lifted }
}

/** Whether this process has CAP_SYS_RESOURCE, bit 24, which containers are often started without. */
function mayRaiseLimits(): boolean {
  const status = readFileSync('/proc/self/status', 'latin1')
  const [, effective = '0'] = /^CapEff:\s*(\w+)$/m.exec(status) ?? []
  return ((BigInt(`0x${effective}`) >> 24n) & 1n) === 1n
}
