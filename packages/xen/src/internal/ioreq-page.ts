import { type HostMemoryWindow, openWindow } from '@xmc/hostmem'
import { errnoOf, windowPage } from '@xmc/interface'
import type { Device } from './device.ts'
import { requestNumber, setUint64 } from './layout.ts'

/** `IOCTL_PRIVCMD_MMAP_RESOURCE`: maps a resource of a domain into a mapping of the device. */
export const MAP_RESOURCE: number = requestNumber('P', 7, 32)

/** `XENMEM_resource_ioreq_server` */
const IOREQ_SERVER = 0

/** `XENMEM_resource_ioreq_server_frame_ioreq(0)` */
const FIRST_IOREQ_FRAME = 1

/** Bytes of a slot, and in it the guest's port for the slot's virtual CPU (`struct ioreq`). */
const SLOT_BYTES = 32
const PORT = 24

/** Slots of a page. */
const SLOTS = 128

/** The page of request slots of an ioreq server, mapped. */
export class IoreqServerPage {
  readonly view: DataView
  readonly #window: HostMemoryWindow

  private constructor(window: HostMemoryWindow) {
    this.#window = window
    this.view = new DataView(window.buffer, window.byteOffset, 4096)
  }

  /** Maps it; a negative errno when Xen refuses. Nothing is mapped then. */
  static map(device: Device, domain: number, server: number): IoreqServerPage | number {
    const window = openWindow({ pageCount: 1 })
    try {
      window.map(windowPage(0), 1, device.descriptor, 0, true)
    } catch (error) {
      window.close()
      const errno = errnoOf(error)
      if (errno === undefined) throw error
      return -errno
    }
    const request = new DataView(new ArrayBuffer(32))
    request.setUint16(0, domain, true)
    request.setUint32(4, IOREQ_SERVER, true)
    request.setUint32(8, server, true)
    request.setUint32(12, FIRST_IOREQ_FRAME, true)
    setUint64(request, 16, 1)
    setUint64(request, 24, window.hostAddress)
    const result = device.ioctl(MAP_RESOURCE, new Uint8Array(request.buffer))
    if (result >= 0) return new IoreqServerPage(window)
    // Nobody may touch what could not be mapped; this also ends the mapping.
    window.close()
    return result
  }

  /** The guest's port for a virtual CPU; 0 for one that is not there, and before the server was first enabled. */
  port(virtualCpu: number): number {
    return virtualCpu < SLOTS ? this.view.getUint32(virtualCpu * SLOT_BYTES + PORT, true) : 0
  }

  /** Unmaps it; the view then reads as zeros. A second call does nothing. */
  close(): void {
    this.#window.close()
  }
}
