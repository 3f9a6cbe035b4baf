import koffi from 'koffi'
import { until } from '../time/waiting.ts'

/** `__HYPERVISOR_domctl` */
const domctl = 36
/** `XEN_DOMCTL_destroydomain`, `XEN_DOMCTL_pausedomain`, `XEN_DOMCTL_unpausedomain` */
const domainCommands = { destroying: 2, pausing: 3, unpausing: 4 } as const
/** `XEN_DOMCTL_INTERFACE_VERSION` of Xen 4.17; another Xen answers EACCES. */
const interfaceVersion = 0x15
/** Of `struct xen_domctl`. */
const requestBytes = 144

/** `__HYPERVISOR_sched_op` */
const schedulerOperation = 29
/** `SCHEDOP_remote_shutdown` */
const remoteShutdown = 4

/**
 * Destroys a domain, as `xl destroy` does: it runs no more, and its memory goes when nobody maps it any more.
 * Resolves when Xen has begun to take it down.
 *
 * @throws Error with the name of the errno: ESRCH when there is no such domain
 */
export async function destroyDomain(domain: number): Promise<void> {
  // A large domain is taken down in steps.
  await until(`domain ${domain} is not taken down`, () => {
    const errno = domainControl(domain, 'destroying')
    if (errno === 0) return true
    if (errno === koffi.os.errno['EAGAIN'] || errno === koffi.os.errno['EBUSY']) return false
    throw refusal(domain, 'destroying', errno)
  })
}

/** Lets no virtual CPU of a domain run, as `xl pause` does. @throws Error with the name of the errno */
export function pauseDomain(domain: number): void {
  const errno = domainControl(domain, 'pausing')
  if (errno !== 0) throw refusal(domain, 'pausing', errno)
}

/** Lets a domain that was paused run again. @throws Error with the name of the errno */
export function unpauseDomain(domain: number): void {
  const errno = domainControl(domain, 'unpausing')
  if (errno !== 0) throw refusal(domain, 'unpausing', errno)
}

/**
 * Shuts a domain down from outside, as if it had done so itself.
 *
 * @param reason `SHUTDOWN_*` of Xen's public headers
 * @throws Error with the name of the errno
 */
export function shutDownDomain(domain: number, reason: number): void {
  const errno = hypercall(8, (request, { call2 }, handle, buffer) => {
    request.setUint16(0, domain, true)
    request.setUint32(4, reason, true)
    return call2(handle, schedulerOperation, remoteShutdown, buffer)
  })
  if (errno !== 0) throw refusal(domain, 'shutting down', errno)
}

/** The errno of a command, 0 for success. */
function domainControl(domain: number, command: keyof typeof domainCommands): number {
  return hypercall(requestBytes, (request, { call1 }, handle, buffer) => {
    request.setUint32(0, domainCommands[command], true)
    request.setUint32(4, interfaceVersion, true)
    request.setUint16(8, domain, true)
    return call1(handle, domctl, buffer)
  })
}

interface Calls {
  readonly call1: (handle: unknown, operation: number, first: unknown) => unknown
  readonly call2: (handle: unknown, operation: number, first: number, second: unknown) => unknown
}

/** Makes a hypercall with a buffer of zeros, which `make` fills; returns the errno, 0 for success. */
function hypercall(
  bytes: number,
  make: (request: DataView, calls: Calls, handle: unknown, buffer: unknown) => unknown,
): number {
  const library = koffi.load('libxencall.so.1')
  const open = library.func('void *xencall_open(void *logger, unsigned int flags)')
  const close = library.func('int xencall_close(void *handle)')
  const allocate = library.func('void *xencall_alloc_buffer(void *handle, size_t size)')
  const free = library.func('void xencall_free_buffer(void *handle, void *buffer)')
  const calls = {
    call1: library.func('int xencall1(void *handle, unsigned int operation, void *request)'),
    call2: library.func(
      'int xencall2(void *handle, unsigned int operation, uint64_t command, void *request)',
    ),
  }
  const handle: unknown = open(null, 0)
  const buffer: unknown = allocate(handle, bytes)
  try {
    const memory = koffi.view(buffer, bytes)
    new Uint8Array(memory).fill(0)
    const result = make(new DataView(memory), calls, handle, buffer)
    return result === 0 ? 0 : koffi.errno()
  } finally {
    free(handle, buffer)
    close(handle)
  }
}

function refusal(domain: number, what: string, errno: number): Error {
  const names = Object.entries(koffi.os.errno)
  const name = names.find(([, value]) => value === errno)?.[0] ?? errno
  return new Error(`${what} domain ${domain} failed: ${name}`)
}
