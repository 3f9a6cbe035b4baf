import { describe, expect, it, onTestFinished } from 'vitest'
import { MailboxClient, mailboxBytes, serveMailbox } from '../src/guest/mailbox.ts'

async function connected(handle: (request: unknown) => unknown): Promise<MailboxClient> {
  const memory = new ArrayBuffer(mailboxBytes)
  const end = new AbortController()
  const served = serveMailbox(memory, handle, end.signal)
  onTestFinished(async () => {
    end.abort()
    await served
  })
  const client = new MailboxClient(memory)
  await client.connect(60_000)
  return client
}

describe('mailbox', () => {
  it('brings requests to the guest and answers back, in order', async () => {
    const seen: unknown[] = []
    const client = await connected((request) => {
      seen.push(request)
      return { of: request }
    })
    const answers = await Promise.all([client.call('ä', 60_000), client.call([2], 60_000)])
    expect(seen).toEqual(['ä', [2]])
    expect(answers).toEqual([{ of: 'ä' }, { of: [2] }])
  })

  it('waits for answers that take time, and brings nothing as null', async () => {
    const client = await connected(
      () =>
        new Promise((resolve) => {
          setTimeout(resolve, 10)
        }),
    )
    expect(await client.call({}, 60_000)).toBeNull()
  })

  it('brings a failure of the guest back, and goes on', async () => {
    const client = await connected((request) => {
      if (request === 'bad') throw new Error('ENOSPC')
      return 1
    })
    await expect(client.call('bad', 60_000)).rejects.toThrow('the guest: ENOSPC')
    expect(await client.call('good', 60_000)).toBe(1)
  })

  it('refuses a message that does not fit', async () => {
    const client = await connected(() => 1)
    await expect(client.call('x'.repeat(28_671), 60_000)).rejects.toThrow(
      'a message of 28673 bytes: the mailbox has 28672',
    )
    expect(await client.call('x'.repeat(28_670), 60_000)).toBe(1)
  })

  it('gives up on a guest that is not there', async () => {
    const client = new MailboxClient(new ArrayBuffer(mailboxBytes))
    await expect(client.connect(10)).rejects.toThrow('the guest does not answer within 10 ms')
  })
})
