import { PassThrough, Writable } from 'node:stream'
import { describe, expect, test, vi } from 'vitest'
import { ConsoleDevice, DescriptorChain } from '../src/index.ts'
import { DATA, Machine, turns } from './doubles/machine.ts'

const RECEIVE = 0
const TRANSMIT = 1

function setUp(): {
  machine: Machine
  input: PassThrough
  output: PassThrough
  queues: ReturnType<Machine['queue']>[]
} {
  const input = new PassThrough()
  const output = new PassThrough()
  const machine = new Machine(new ConsoleDevice({ input, output, columns: 100, rows: 40 }))
  machine.negotiate(0)
  const queues = [RECEIVE, TRANSMIT].map((index) => machine.enable(machine.queue(index, 8)))
  machine.driverOk()
  return { machine, input, output, queues }
}

test('5.3.4 size in the configuration space, and a change of it', () => {
  const device = new ConsoleDevice({ output: new PassThrough() })
  const machine = new Machine(device)
  expect(machine.read(0x008)).toBe(3)
  expect(machine.transport.read(0x100, 2)).toBe(80)
  expect(machine.transport.read(0x102, 2)).toBe(25)
  device.resize(132, 50)
  expect(machine.transport.read(0x100, 2)).toBe(132)
  expect(machine.transport.read(0x102, 2)).toBe(50)
  expect(machine.read(0x0fc)).toBe(1)
  expect(() => device.resize(65_536, 1)).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'columns' }),
  )
})

test('5.3.6 what the guest transmits comes out, in order', async () => {
  const { machine, output, queues } = setUp()
  const [, transmit] = queues
  machine.put(DATA, 'hello, ')
  machine.put(DATA + 100, 'world')
  if (transmit === undefined) throw new Error('no queue')
  machine.send(transmit, [{ at: DATA, length: 7 }], 0)
  machine.send(transmit, [{ at: DATA + 100, length: 5 }], 1)
  await machine.idle()
  expect(String(output.read())).toBe('hello, world')
  expect(machine.used(transmit)).toEqual([
    { id: 0, length: 0 },
    { id: 1, length: 0 },
  ])
})

test('5.3.6 what comes in waits for buffers, and buffers wait for what comes in', async () => {
  const { machine, input, queues } = setUp()
  const [receive] = queues
  if (receive === undefined) throw new Error('no queue')
  machine.send(receive, [{ at: DATA, length: 4, write: true }], 0)
  await turns(2)
  expect(machine.usedIndex(receive)).toBe(0)
  expect(machine.memory.live).toBe(6)
  input.write('abcdef')
  await turns(2)
  expect(machine.used(receive)).toEqual([{ id: 0, length: 4 }])
  expect(machine.text(DATA, 4)).toBe('abcd')
  machine.send(
    receive,
    [
      { at: DATA + 8, length: 1, write: true },
      { at: DATA + 16, length: 8, write: true },
    ],
    1,
  )
  await turns(2)
  expect(machine.used(receive).at(-1)).toEqual({ id: 1, length: 2 })
  expect(machine.text(DATA + 8, 1) + machine.text(DATA + 16, 1)).toBe('ef')
})

test('5.3.5.1 an emergency write comes out of a device in any state', () => {
  const output = new PassThrough()
  const { transport } = new Machine(new ConsoleDevice({ output }))
  transport.write(0x108, 0x2100 | 0x21, 4)
  transport.write(0x100, 7, 2)
  expect(String(output.read())).toBe('!')
  expect(transport.read(0x100, 2)).toBe(80)
})

test('an output that stands still holds the guest back, but not a reset', async () => {
  let written = 0
  const output = new Writable({
    write: () => {
      written += 1
    },
  })
  const machine = new Machine(new ConsoleDevice({ output }))
  machine.negotiate()
  const transmit = machine.enable(machine.queue(TRANSMIT, 8))
  machine.driverOk()
  machine.send(transmit, [{ at: DATA, length: 4 }], 0)
  machine.send(transmit, [{ at: DATA, length: 4 }], 1)
  await turns(2)
  expect(written).toBe(1)
  expect(machine.usedIndex(transmit)).toBe(0)
  machine.write(0x070, 0)
  await machine.transport.drained()
  expect(machine.read(0x070)).toBe(0)
  expect(machine.memory.live).toBe(0)
})

test('an output that fails is for its owner to hear; the guest goes on', async () => {
  const failures: string[] = []
  const output = new Writable({ write: (_chunk, _encoding, done) => done(new Error('closed')) })
  output.on('error', (error) => failures.push(error.message))
  const machine = new Machine(new ConsoleDevice({ output }))
  machine.negotiate()
  const transmit = machine.enable(machine.queue(TRANSMIT, 8))
  machine.driverOk()
  machine.send(transmit, [{ at: DATA, length: 4 }], 0)
  machine.send(transmit, [{ at: DATA, length: 4 }], 1)
  await machine.idle()
  await turns(2)
  expect(failures).toEqual(['closed'])
  expect(machine.usedIndex(transmit)).toBe(2)
  expect(machine.read(0x070)).toBe(15)
})

test('an input of text or of objects is refused', () => {
  const output = new PassThrough()
  const text = new PassThrough().setEncoding('utf8')
  const objects = new PassThrough({ objectMode: true })
  for (const input of [text, objects]) {
    expect(() => new ConsoleDevice({ input, output })).toThrow(
      expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'input' }),
    )
  }
})

/** An output that takes what it is given when the test says so. */
class SlowOutput extends Writable {
  taken = ''
  #done: (() => void) | undefined

  constructor() {
    super({ highWaterMark: 16 })
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#done = () => {
      this.taken += chunk.toString('latin1')
      done()
    }
  }

  /** Takes what was written last, if anything. */
  take(): void {
    const done = this.#done
    this.#done = undefined
    done?.()
  }
}

function console(output: Writable): {
  device: ConsoleDevice
  machine: Machine
  start: () => ReturnType<Machine['queue']>
} {
  const device = new ConsoleDevice({ output })
  const machine = new Machine(device)
  const start = (): ReturnType<Machine['queue']> => {
    machine.memory.bytes.fill(0, 0, DATA)
    machine.negotiate()
    const queue = machine.enable(machine.queue(TRANSMIT, 8))
    machine.driverOk()
    return queue
  }
  return { device, machine, start }
}

describe('an output that stands still', () => {
  test('has one emergency write; as many wait as its high-water mark, and the rest is dropped', async () => {
    const output = new SlowOutput()
    const { device, machine } = console(output)
    for (let index = 0; index < 1000; index++)
      machine.transport.write(0x108, 0x41 + (index % 16), 4)
    expect(output.writableLength).toBe(1)
    expect(device.statistics).toEqual({
      received: 0,
      transmitted: 0,
      waiting: 16,
      outputBytes: 16,
      dropped: 984,
    })
    output.take()
    await turns(1)
    output.take()
    await turns(1)
    expect(output.taken).toBe('ABCDEFGHIJKLMNOP')
    expect(device.statistics).toMatchObject({ transmitted: 16, waiting: 0, dropped: 984 })
  })

  test('gets a request in pieces, none of which is over its high-water mark', async () => {
    const output = new SlowOutput()
    const { device, machine, start } = console(output)
    const queue = start()
    const text = 'x'.repeat(100)
    machine.put(DATA, text)
    machine.send(queue, [{ at: DATA, length: 100 }], 0)
    let most = 0
    for (let index = 0; index < 20; index++) {
      most = Math.max(most, output.writableLength)
      expect(device.statistics.waiting).toBeLessThanOrEqual(16)
      output.take()
      await turns(1)
    }
    expect(most).toBe(16)
    expect(output.taken).toBe(text)
    expect(machine.used(queue)).toEqual([{ id: 0, length: 0 }])
  })

  test('takes nothing more of a guest that transmits and resets, again and again, until it has written', async () => {
    const output = new SlowOutput()
    const { device, machine, start } = console(output)
    for (let round = 0; round < 10; round++) {
      const queue = start()
      machine.put(DATA, String(round).repeat(16))
      machine.send(queue, [{ at: DATA, length: 16 }], 0)
      await turns(1)
      machine.write(0x070, 0)
      await machine.transport.drained()
      expect(machine.read(0x070)).toBe(0)
      expect(output.writableLength).toBe(16)
    }
    expect(device.statistics).toMatchObject({ waiting: 16, transmitted: 0 })
    const queue = start()
    machine.put(DATA, 'after the resets')
    machine.send(queue, [{ at: DATA, length: 16 }], 0)
    await turns(1)
    expect(output.writableLength).toBe(16)
    output.take()
    await turns(2)
    output.take()
    await turns(2)
    expect(output.taken).toBe('0000000000000000after the resets')
    expect(machine.usedIndex(queue)).toBe(1)
  })

  test('does not let the end of a write of before a reset end a request of after it', async () => {
    const output = new SlowOutput()
    const { machine, start } = console(output)
    machine.send(start(), [{ at: DATA, length: 40 }], 0)
    await turns(1)
    machine.write(0x070, 0)
    await machine.transport.drained()
    const queue = start()
    machine.put(DATA, 'second')
    machine.send(queue, [{ at: DATA, length: 6 }], 0)
    await turns(1)
    output.take() // the first one's
    await turns(2)
    expect(machine.usedIndex(queue)).toBe(0)
    machine.write(0x070, 0)
    await machine.transport.drained()
    expect(machine.read(0x070)).toBe(0)
    expect(machine.memory.live).toBe(0)
  })

  test('does not let a request take memory for what the guest has not got', async () => {
    const output = new SlowOutput()
    const { device, machine, start } = console(output)
    const queue = start()
    const read = vi.spyOn(DescriptorChain.prototype, 'read')
    machine.memory.withdrawn.add(100)
    machine.send(
      queue,
      Array.from({ length: 8 }, () => ({ at: 100 * 4096, length: 2 ** 28 })),
      0,
    )
    await turns(2)
    expect(machine.transport.fault).toMatchObject({ code: 'ERR_XMC_GUEST_BUFFER' })
    expect(device.statistics).toMatchObject({ waiting: 0, transmitted: 0 })
    expect(read.mock.calls).toEqual([[0, 16]])
    read.mockRestore()
  })
})

describe('an output that has ended', () => {
  test.each([
    ['ended', (output: Writable): unknown => output.end()],
    ['destroyed', (output: Writable): unknown => output.destroy()],
    ['failed', (output: Writable): unknown => output.destroy(new Error('EPIPE'))],
  ])('%s: what the guest writes is dropped and counted, and nothing is thrown', async (_, end) => {
    const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const output = new PassThrough()
    const { device, machine, start } = console(output)
    const queue = start()
    end(output)
    await turns(2)
    machine.send(queue, [{ at: DATA, length: 100 }], 0)
    machine.send(queue, [{ at: DATA, length: 4 }], 1)
    machine.transport.write(0x108, 0x21, 4)
    await machine.idle()
    expect(machine.usedIndex(queue)).toBe(2)
    expect(device.statistics).toMatchObject({ transmitted: 0, waiting: 0, dropped: 105 })
    emit.mockRestore()
  })

  test('in the middle of a request: the guest goes on', async () => {
    const output = new SlowOutput()
    const { device, machine, start } = console(output)
    const queue = start()
    machine.send(queue, [{ at: DATA, length: 40 }], 0)
    await turns(1)
    output.destroy()
    await machine.idle()
    expect(machine.usedIndex(queue)).toBe(1)
    expect(device.statistics).toMatchObject({ waiting: 0, transmitted: 0, dropped: 40 })
  })

  test('errors of a stream are told, the first five and then how many, and by default warned of once', async () => {
    const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const told: [string, number][] = []
    const input = new PassThrough()
    const device = new ConsoleDevice({
      output: new PassThrough(),
      input,
      onError: (error, repeated) => told.push([error.message, repeated]),
    })
    for (let index = 0; index < 100; index++) input.emit('error', new Error(`error ${index}`))
    expect(told.length).toBe(5)
    expect(told[0]).toEqual(['error 0', 0])
    expect(emit).not.toHaveBeenCalled()
    expect(device.ready(0)).toBe(false)
    const output = new PassThrough()
    const silent = new ConsoleDevice({ output })
    expect(silent.ready(1)).toBe(true)
    output.emit('error', new Error('EPIPE'))
    output.emit('error', new Error('EPIPE'))
    expect(emit.mock.calls).toEqual([
      [
        'a stream of a console failed: EPIPE',
        { type: 'XmcWarning', code: 'WARN_XMC_CONSOLE_STREAM' },
      ],
    ])
    emit.mockRestore()
  })
})

test('an input that was destroyed gives nothing more, and costs the guest no buffer', async () => {
  const { machine, input, queues } = setUp()
  const [receive] = queues
  if (receive === undefined) throw new Error('no queue')
  input.write('abcdef')
  await turns(1)
  input.destroy()
  machine.send(receive, [{ at: DATA, length: 4, write: true }], 0)
  await turns(2)
  expect(machine.usedIndex(receive)).toBe(0)
  expect(machine.read(0x070)).toBe(15)
})

test.each([0, 1.5, 2 ** 24 + 1])('a limit of %d bytes is refused', (outputBytes) => {
  expect(() => new ConsoleDevice({ output: new PassThrough(), outputBytes })).toThrow(
    expect.objectContaining({ code: 'ERR_XMC_ARGUMENT', field: 'outputBytes' }),
  )
})
