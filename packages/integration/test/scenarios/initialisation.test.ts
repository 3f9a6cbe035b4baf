import { createForeignCache } from '@xmc/foreign'
import { type AddressSpacePlan, openWindow, planAddressSpace, UNLIMITED } from '@xmc/hostmem'
import { domainId, grantReference, guestFrame } from '@xmc/interface'
import { Hypervisor } from '@xmc/sim'
import { describe, expect, it } from 'vitest'
import { failure } from '../helpers/failure.ts'
import { addForeignCache, ForeignWorld } from '../helpers/foreign-world.ts'
import { GrantWorld } from '../helpers/grant-world.ts'
import { contents } from '../helpers/guest-contents.ts'

/** A world whose cache has the bucket size and the byte budget of a plan. */
function asPlanned(plan: AddressSpacePlan): ForeignWorld {
  return new ForeignWorld({
    bucketShift: plan.foreignBucketShift,
    retention: { kind: 'keep', budgetBytes: plan.maximumBytes },
  })
}

describe('initialisation', () => {
  it('S1 root on a 64-bit host: places for 32768 buckets and 8388608 grants, limits lifted', () => {
    const plan = planAddressSpace({
      uid: 0,
      soft: 4_294_967_296n,
      hard: 8_589_934_592n,
      hostBits: 64,
    })
    using world = asPlanned(plan)
    expect(plan.newLimits).toEqual({ soft: UNLIMITED, hard: UNLIMITED })
    expect(plan.warning).toBeUndefined()
    expect(plan.maximumBytes / 2 ** plan.foreignBucketShift).toBe(32_768)
    expect(plan.maximumBytes / 4096).toBe(8_388_608)
    world.populate(0x700)
    expect(world.access(0x712345, 4)).toEqual(contents(0x712345, 4))
    expect(world.calls()).toEqual(['fm(0x700,256)'])
  })

  it('S2 a 32-bit host: buckets of 16 frames, places for 32768 of them and 524288 grants', () => {
    const plan = planAddressSpace({ uid: 0, soft: UNLIMITED, hard: UNLIMITED, hostBits: 32 })
    using world = asPlanned(plan)
    expect(plan.foreignBucketShift).toBe(16)
    expect(plan.maximumBytes / 2 ** 16).toBe(32_768)
    expect(plan.maximumBytes / 4096).toBe(524_288)
    world.populate(0x700)
    expect(world.access(0x712345, 4)).toEqual(contents(0x712345, 4))
    expect(world.calls()).toEqual(['fm(0x710,16)'])
  })

  it('S2 a grant is mapped page by page, whatever the host', () => {
    using world = new GrantWorld()
    world.map(0x8000_0000_0000_7000n, 4096).release()
    expect(world.calls()).toEqual(['gm[7]r', 'gu(1)'])
  })

  it('S3 uid 1000 with a hard limit of 4 GiB: a warning, 80 MiB less, the soft limit is the hard one', () => {
    const hard = 4_294_967_296n
    const plan = planAddressSpace({ uid: 1000, soft: 1_073_741_824n, hard, hostBits: 64 })
    using world = asPlanned(plan)
    expect(plan.warning).toContain('limited to 4294967296 bytes')
    expect(plan.maximumBytes).toBe(4_211_081_216)
    expect(plan.maximumBytes / 2 ** plan.foreignBucketShift).toBe(4016)
    expect(plan.maximumBytes / 4096).toBe(1_028_096)
    expect(plan.newLimits).toEqual({ soft: hard, hard })
    world.populate(0x700)
    expect(world.access(0x712345, 4)).toEqual(contents(0x712345, 4))
  })

  it('S4 a hard limit of exactly 32 GiB and 80 MiB: 32 GiB, and still the warning', () => {
    const hard = 34_443_624_448n
    const plan = planAddressSpace({ uid: 1000, soft: hard, hard, hostBits: 64 })
    expect(plan.maximumBytes).toBe(34_359_738_368)
    expect(plan.warning).toContain('limited to 34443624448 bytes')
  })

  it('S5 a hard limit of 64 MiB is refused with an error that says so', () => {
    const hard = 67_108_864n
    expect(() => planAddressSpace({ uid: 1000, soft: hard, hard, hostBits: 64 })).toThrow(
      failure('ERR_XMC_ADDRESS_SPACE_LIMIT', {
        hard,
        message: expect.stringContaining('(RLIMIT_AS) is 67108864 bytes'),
      }),
    )
  })

  it('S6 1 MiB and 4 KiB are two buckets of 1 MiB: a third takes the place of the first', () => {
    const hard = 84_938_752n
    const plan = planAddressSpace({ uid: 1000, soft: hard, hard, hostBits: 64 })
    using world = asPlanned(plan)
    expect(plan.maximumBytes).toBe(1_052_672)
    world.populate(0, 0x300)
    world.access(0, 16)
    world.access(0x100000, 16)
    expect(world.mapped()).toEqual(['(0x0,256)', '(0x100,256)'])
    world.access(0x200000, 16)
    expect(world.mapped()).toEqual(['(0x100,256)', '(0x200,256)'])
  })

  it('S7 a bucket shift of 11 is refused', () => {
    using hypervisor = new Hypervisor()
    using window = openWindow({ pageCount: 256 })
    const guest = hypervisor.createDomain({ memoryBytes: 2 ** 20 })
    const make = (bucketShift: number): unknown =>
      createForeignCache({
        memory: hypervisor.foreignMemory(),
        domain: domainId(guest.id),
        window,
        bucketShift,
      })
    expect(() => make(11)).toThrow(
      failure('ERR_XMC_ARGUMENT', { field: 'backend.bucketShift', received: 11 }),
    )
    expect(() => make(12)).not.toThrow()
  })

  it('S8 without a grant device everything starts, and only a use of grants fails', () => {
    using world = new GrantWorld()
    world.hypervisor.faults.fail({ site: 'grant.map', count: Infinity, errno: 'ENOENT' })
    world.hypervisor.faults.fail({ site: 'grant.copy', count: Infinity, errno: 'ENOENT' })
    const foreign = addForeignCache(world)
    world.populate(0x700)
    expect(foreign.loadUint8(guestFrame(0x712), 0x345)).toBe(contents(0x712345, 1)[0])
    expect(world.calls()).toEqual(['fm(0x700,256)'])
    expect(() => world.cache.map(grantReference(7), 0, 16)).toThrow(
      failure('ERR_XMC_GRANT_MAP', { errnoName: 'ENOENT' }),
    )
    expect(() => world.cache.loadUint8(grantReference(7), 0)).toThrow(failure('ERR_XMC_GRANT_COPY'))
    expect(foreign.loadUint8(guestFrame(0x7ff), 0xfff)).toBe(contents(0x7fffff, 1)[0])
    expect(world.mapped()).toEqual(['(0x700,256)'])
  })
})
