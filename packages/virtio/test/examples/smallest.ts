import assert from 'node:assert/strict'
import { BlockDevice, type GuestMemory, MemoryDisk, MmioTransport } from '@xmc/virtio'
import { BlockDriver, FrameAllocator, PlainDmaMapper } from '@xmc/virtio/driver'

// A guest with 1 MiB of RAM. On Xen an address space of @xmc/memory-region stands here.
const ram = new Uint8Array(2 ** 20)
const memory: GuestMemory = {
  map: (page, offset, length) => ({
    bytes: ram.subarray(page * 4096 + offset, page * 4096 + offset + length),
    release: () => {},
  }),
  mapAsync: async (...range) => memory.map(...range),
}

// Its interrupt line, between the device and the driver.
let interrupted: (() => void) | undefined
const line = {
  level: false,
  setLevel(high: boolean) {
    line.level = high
    if (high) setImmediate(() => interrupted?.())
  },
  subscribe(handler: () => void) {
    interrupted = handler
    return () => {
      interrupted = undefined
    }
  },
}

// The device's side.
const disk = new MemoryDisk(2 ** 16)
const device = new BlockDevice({ disk })
const transport = new MmioTransport({ device, memory, interrupt: line })

// The guest's side: a driver at the registers, as Linux has one.
const driver = new BlockDriver({
  bus: {
    read: async (address, size) => transport.read(Number(address), size),
    write: async (address, value, size) => transport.write(Number(address), value, size),
  },
  address: 0,
  interrupt: line,
  pages: new FrameAllocator({
    first: 0,
    count: 256,
    view: (frame, count) => ram.subarray(frame * 4096, (frame + count) * 4096),
  }),
  dma: new PlainDmaMapper(),
})
await driver.start()
await driver.writeBytes(8, Buffer.alloc(512, 'hello '))
assert.deepEqual(Buffer.from(await driver.readBytes(8, 512)), Buffer.alloc(512, 'hello '))
assert.equal(device.statistics.requests, 2)
await driver.close()
assert.equal(transport.mappedRanges, 0)
