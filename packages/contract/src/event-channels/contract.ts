import assert from 'node:assert/strict'
import type { ContractCase } from '../contract-case.ts'
import { assertErrno } from '../internal/refusals.ts'
import type { EventChannelsProvider } from './provider.ts'

/** A case of the contract of event channels. */
export type EventChannelsCase = ContractCase<EventChannelsProvider>

/** What every provider of event channels must do, between ports of one domain: the cases E1 to E10. */
export const eventChannelsContract: readonly EventChannelsCase[] = [
  eventCase('E1', 'ports are open until they are closed, and differ', async (provider) => {
    const { eventChannels, domain } = provider
    const first = eventChannels.allocateUnbound(domain, domain)
    const second = eventChannels.allocateUnbound(domain, domain)
    assert.notEqual(first, second)
    assert.equal(eventChannels.isOpen(domain, first), true)
    eventChannels.close(domain, first)
    assert.equal(eventChannels.isOpen(domain, first), false)
    assert.equal(eventChannels.isOpen(domain, second), true)
  }),

  eventCase(
    'E2',
    'a port that binds is pending at once, the offered one is not',
    async (provider) => {
      const { eventChannels, domain } = provider
      const { offered, bound } = connect(provider)
      await provider.settle()
      assert.equal(eventChannels.isPending(domain, bound), true)
      assert.equal(eventChannels.isPending(domain, offered), false)
    },
  ),

  eventCase('E3', 'a send calls the handler of the other end, later', async (provider) => {
    const { eventChannels, domain } = provider
    const { offered, bound } = connect(provider)
    let calls = 0
    eventChannels.setHandler(domain, offered, () => {
      calls++
    })
    eventChannels.send(domain, bound)
    assert.equal(calls, 0, 'never inside the send')
    await provider.settle()
    assert.equal(calls, 1)
    eventChannels.send(domain, bound)
    await provider.settle()
    assert.equal(calls, 2, 'another call for another event')
    for (let sends = 0; sends < 10; sends++) eventChannels.send(domain, bound)
    await provider.settle()
    // Linux has taken the first from Xen when the others come, which become a second one.
    assert.ok(
      calls === 3 || calls === 4,
      'one call or two for events that came before the handler ran',
    )
    assert.equal(eventChannels.isPending(domain, offered), false)
  }),

  eventCase('E4', 'both ends can send', async (provider) => {
    const { eventChannels, domain } = provider
    const { offered, bound } = connect(provider)
    const order: string[] = []
    eventChannels.setHandler(domain, bound, () => {
      order.push('bound')
      if (order.length === 1) eventChannels.send(domain, bound)
    })
    eventChannels.setHandler(domain, offered, () => {
      order.push('offered')
      eventChannels.send(domain, offered)
    })
    await provider.settle()
    assert.deepEqual(order, ['bound', 'offered', 'bound'])
  }),

  eventCase('E5', 'an event without a handler stays pending, for a later one', async (provider) => {
    const { eventChannels, domain } = provider
    const { offered, bound } = connect(provider)
    eventChannels.send(domain, bound)
    await provider.settle()
    assert.equal(eventChannels.isPending(domain, offered), true)
    let calls = 0
    eventChannels.setHandler(domain, offered, () => {
      calls++
    })
    await provider.settle()
    assert.equal(calls, 1)
    eventChannels.setHandler(domain, offered, undefined)
    eventChannels.send(domain, bound)
    await provider.settle()
    assert.equal(calls, 1, 'not after the handler was taken away')
  }),

  eventCase('E6', 'a mask holds events back until it is taken away', async (provider) => {
    const { eventChannels, domain } = provider
    const { offered, bound } = connect(provider)
    let calls = 0
    eventChannels.setHandler(domain, offered, () => {
      calls++
    })
    eventChannels.mask(domain, offered)
    eventChannels.send(domain, bound)
    await provider.settle()
    assert.equal(calls, 0)
    assert.equal(eventChannels.isPending(domain, offered), true)
    eventChannels.unmask(domain, offered)
    await provider.settle()
    assert.equal(calls, 1)
  }),

  eventCase(
    'E7',
    'a send from inside a handler to itself brings another call',
    async (provider) => {
      const { eventChannels, domain } = provider
      const { offered, bound } = connect(provider)
      let calls = 0
      eventChannels.setHandler(domain, offered, () => {
        calls++
        if (calls < 20) eventChannels.send(domain, bound)
      })
      eventChannels.send(domain, bound)
      for (let turn = 0; turn < 20; turn++) await provider.settle()
      assert.equal(calls, 20)
    },
  ),

  eventCase(
    'E8',
    'a closed port is EINVAL, and its handler is not called any more',
    async (provider) => {
      const { eventChannels, domain } = provider
      const { offered, bound } = connect(provider)
      let calls = 0
      eventChannels.setHandler(domain, offered, () => {
        calls++
      })
      eventChannels.send(domain, bound)
      eventChannels.close(domain, offered)
      await provider.settle()
      assert.equal(calls, 0)
      await assertErrno(() => eventChannels.send(domain, offered), 'EINVAL')
      await assertErrno(() => eventChannels.close(domain, offered), 'EINVAL')
      await assertErrno(() => eventChannels.isPending(domain, offered), 'EINVAL')
      eventChannels.send(domain, bound)
    },
  ),

  eventCase(
    'E9',
    'a port that is not offered, or bound already, is EINVAL to bind to',
    async (provider) => {
      const { eventChannels, domain } = provider
      const { offered } = connect(provider)
      await assertErrno(() => eventChannels.bindInterdomain(domain, domain, offered), 'EINVAL')
      await assertErrno(() => eventChannels.bindInterdomain(domain, domain, 4000), 'EINVAL')
    },
  ),

  eventCase('E10', 'a domain that does not exist is ESRCH', async (provider) => {
    const { eventChannels, domain, absentDomain } = provider
    await assertErrno(() => eventChannels.allocateUnbound(domain, absentDomain), 'ESRCH')
    await assertErrno(() => eventChannels.bindInterdomain(domain, absentDomain, 1), 'ESRCH')
  }),
]

function eventCase(
  id: string,
  title: string,
  run: (provider: EventChannelsProvider) => Promise<void>,
): EventChannelsCase {
  return { id, title, requires: [], run }
}

/** Two connected ports of the domain: one was offered, the other bound to it. */
function connect({ eventChannels, domain }: EventChannelsProvider): {
  readonly offered: number
  readonly bound: number
} {
  const offered = eventChannels.allocateUnbound(domain, domain)
  const bound = eventChannels.bindInterdomain(domain, domain, offered)
  return { offered, bound }
}
