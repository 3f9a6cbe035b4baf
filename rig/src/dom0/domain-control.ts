import koffi from 'koffi'

/** `__HYPERVISOR_domctl` */
const domctl = 36
/** `XEN_DOMCTL_destroydomain` */
const destroyDomainCommand = 2
/** `XEN_DOMCTL_INTERFACE_VERSION` of Xen 4.17; another Xen answers EACCES. */
const interfaceVersion = 0x15
/** Of `struct xen_domctl`. */
const requestBytes = 144

/**
 * Destroys a domain, as `xl destroy` does: it runs no more, and its memory goes when nobody maps it any more.
 * Resolves when Xen has begun to take it down.
 *
 * @throws Error with the name of the errno: ESRCH when there is no such domain
 */
export async function destroyDomain(domain: number): Promise<void> {
  const library = koffi.load('libxencall.so.1')
  const open = library.func('void *xencall_open(void *logger, unsigned int flags)')
  const close = library.func('int xencall_close(void *handle)')
  const allocate = library.func('void *xencall_alloc_buffer(void *handle, size_t size)')
  const free = library.func('void xencall_free_buffer(void *handle, void *buffer)')
  const call = library.func('int xencall1(void *handle, unsigned int operation, void *request)')
  const handle: unknown = open(null, 0)
  const buffer: unknown = allocate(handle, requestBytes)
  try {
    const request = new DataView(koffi.view(buffer, requestBytes))
    request.setUint32(0, destroyDomainCommand, true)
    request.setUint32(4, interfaceVersion, true)
    request.setUint16(8, domain, true)
    for (;;) {
      if (call(handle, domctl, buffer) === 0) return
      const errno = koffi.errno()
      if (errno !== koffi.os.errno['EAGAIN'] && errno !== koffi.os.errno['EBUSY']) {
        const names = Object.entries(koffi.os.errno)
        const name = names.find(([, value]) => value === errno)?.[0] ?? errno
        throw new Error(`destroying domain ${domain} failed: ${name}`)
      }
      // A large domain is taken down in steps.
      await new Promise((resolve) => {
        setTimeout(resolve, 1)
      })
    }
  } finally {
    free(handle, buffer)
    close(handle)
  }
}

/** `__HYPERVISOR_sched_op` */
const schedulerOperation = 29
/** `SCHEDOP_remote_shutdown` */
const remoteShutdown = 4

/**
 * Shuts a domain down from outside, as if it had done so itself.
 *
 * @param reason `SHUTDOWN_*` of Xen's public headers
 * @throws Error when Xen refuses
 */
export function shutDownDomain(domain: number, reason: number): void {
  const library = koffi.load('libxencall.so.1')
  const open = library.func('void *xencall_open(void *logger, unsigned int flags)')
  const close = library.func('int xencall_close(void *handle)')
  const allocate = library.func('void *xencall_alloc_buffer(void *handle, size_t size)')
  const free = library.func('void xencall_free_buffer(void *handle, void *buffer)')
  const call = library.func(
    'int xencall2(void *handle, unsigned int operation, uint64_t command, void *request)',
  )
  const handle: unknown = open(null, 0)
  const buffer: unknown = allocate(handle, 8)
  try {
    const request = new DataView(koffi.view(buffer, 8))
    request.setUint16(0, domain, true)
    request.setUint32(4, reason, true)
    if (call(handle, schedulerOperation, remoteShutdown, buffer) !== 0) {
      throw new Error(`shutting domain ${domain} down failed: ${koffi.errno()}`)
    }
  } finally {
    free(handle, buffer)
    close(handle)
  }
}
