import { BlockDevice, MemoryDisk } from '@xmc/virtio'
import { describe, expect, it } from 'vitest'
import { attacks } from '../src/hostile/attacks/all.ts'
import { RequestEnds } from '../src/hostile/block-requests.ts'
import type { DuelResult } from '../src/hostile/duel.ts'
import { HostileGuest, RAM } from '../src/hostile/hostile-guest.ts'
import { isMet, ratio, reportDuels } from '../src/hostile/report-duels.ts'

function result(attacked: number, p99: number): DuelResult {
  return {
    alone: { requestsPerSecond: 1000, p99: 1 },
    attacked: { requestsPerSecond: attacked, p99 },
    longestTurn: 2.345,
    steps: 7,
    areas: 1234,
    residentBytes: 3 * 2 ** 20,
    lines: 5,
  }
}

const duel = { id: '2 bad', title: 'bad buffers', addressing: 'grants' } as const

describe('the attacks', () => {
  it('have names of their own, at least one for each of the nine kinds', () => {
    const ids = attacks.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect([...new Set(ids.map((id) => id[0]))]).toEqual('1 2 3 4 5 6 7 8 9'.split(' '))
  })
})

describe('HostileGuest', () => {
  it.each(['grants', 'foreign'] as const)(
    'gets a request by %s through that is a good one',
    async (addressing) => {
      const disk = new MemoryDisk(Uint8Array.from({ length: 512 }, (_, n) => n & 0xff))
      const guest = HostileGuest.open({
        addressing,
        devices: [new BlockDevice({ disk })],
        memoryBytes: 2 ** 25,
      })
      await guest.negotiate(0)
      const queue = await guest.queue({ slot: 0, at: RAM, size: 8 })
      const data = guest.share(RAM + 0x40_0000, 1)
      queue.chain(0, new RequestEnds(guest).read([{ address: data, length: 512 }]))
      await guest.start(0)
      queue.offer([0])
      expect(queue.outstanding).toBe(1)
      await queue.notify()
      await expect.poll(() => queue.outstanding).toBe(0)
      expect(guest.memory.readUint32(RAM + 0x40_0000)).toBe(0x03020100)
      await guest.close()
    },
  )

  it.each(['grants', 'foreign'] as const)(
    'has addresses by %s that are nowhere',
    async (addressing) => {
      const disk = new MemoryDisk(512)
      const guest = HostileGuest.open({
        addressing,
        devices: [new BlockDevice({ disk })],
        memoryBytes: 2 ** 25,
      })
      await guest.negotiate(0)
      const queue = await guest.queue({ slot: 0, at: RAM, size: 8 })
      queue.chain(0, new RequestEnds(guest).read([{ address: guest.nowhere(1), length: 512 }]))
      guest.memory.writeUint8(RAM + 0x20_0080, 0xff)
      await guest.start(0)
      queue.offer([0])
      await queue.notify()
      await expect.poll(() => queue.outstanding).toBe(0)
      expect(guest.memory.readUint8(RAM + 0x20_0080)).toBe(1)
      await guest.close()
    },
  )
})

describe('what a duel is worth', () => {
  it('is half of the rate alone, and 10 ms', () => {
    expect(ratio(result(600, 1))).toBe(0.6)
    expect(isMet({ ...duel, result: result(500, 10) })).toBe(true)
    expect(isMet({ ...duel, result: result(499, 10) })).toBe(false)
    expect(isMet({ ...duel, result: result(500, 10.1) })).toBe(false)
    expect(isMet({ ...duel, ended: 'SIGABRT' })).toBe(false)
  })

  it('is printed as a row of a table, also where the process has ended', () => {
    const duels = [
      { ...duel, result: result(600, 1) },
      { ...duel, ended: 'SIGABRT' },
    ]
    const text = reportDuels({ node: 'v20', cpu: 'a processor', duels })
    expect(text).toContain(
      '| 2 bad | grants | 1,000 | 600 | 0.60 | 1.00 | 1.00 | 2.3 | 1,234 | 3 | 5 | met |',
    )
    expect(text).toContain('| 2 bad | grants | the process ended: SIGABRT |')
    expect(text).toContain('met in 1 of 2')
  })
})
