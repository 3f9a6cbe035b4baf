import { PassThrough, Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { ConsoleDevice } from '../src/index.ts'
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
