/** What to do about a device that cannot be opened. */
export function remedyFor(device: string, errnoName: string): string {
  const module = MODULES.get(device)
  switch (errnoName) {
    case 'ENOENT':
      return `this machine does not run under Xen, or the driver is not there: modprobe ${module ?? 'the module of the device'}`
    case 'EACCES':
    case 'EPERM':
      return 'run as root, or let your user read and write the device'
    case 'ENODEV':
    case 'ENXIO':
      return 'the kernel has the driver, but does not run under Xen'
    case 'EMFILE':
    case 'ENFILE':
      return 'too many files are open: close devices that are not used any more'
    default:
      return 'look at the kernel log'
  }
}

/** Why an operation was likely refused; empty when nothing is known. */
export function reasonsFor(operation: string, errnoName: string): readonly string[] {
  return REASONS[`${operation} ${errnoName}`] ?? REASONS[`* ${errnoName}`] ?? []
}

/** The kernel module that has each device. */
export const MODULES: ReadonlyMap<string, string> = new Map([
  ['/dev/xen/gntdev', 'xen-gntdev'],
  ['/dev/xen/gntalloc', 'xen-gntalloc'],
  ['/dev/xen/privcmd', 'xen-privcmd'],
  ['/dev/xen/hypercall', 'xen-privcmd'],
  ['/dev/xen/evtchn', 'xen-evtchn'],
])

/** What a Xen as distributions build it for Arm lacks. */
export const NO_IOREQ_SERVERS =
  'this Xen has no ioreq servers: build it with CONFIG_IOREQ_SERVER (on Arm with CONFIG_EXPERT)'

/** Seen on Xen 4.17 with Linux 6.1 and 6.12, or said by the drivers' sources. */
const REASONS: Readonly<Record<string, readonly string[]>> = {
  'foreign map ESRCH': [
    'no domain has this id, or it is gone',
    "the domain is the caller's own: map another's",
  ],
  'foreign map EINVAL': [
    'a frame has no memory behind it',
    'the domain is dying: close its mappings',
    'the target would split a mapping of several pages: unmap that one whole first',
  ],
  'foreign map ENOENT': ['a frame is paged out: use the asynchronous form, which waits for it'],
  'foreign map EPERM': [
    'this domain may not map the memory of others: only the control domain may',
    'the device was restricted to another domain',
  ],
  'foreign map ENOMEM': [
    'the process has as many memory areas as vm.max_map_count allows: raise it, or keep fewer mappings',
    'this domain has no memory left for the mapping',
  ],
  'foreign unmap EINVAL': [
    'the range would split a mapping of several pages: unmap that one whole',
  ],
  'grant map EINVAL': [
    'a reference is not granted to this domain, or not for writing',
    'a reference lies outside the table of the granter',
    'no domain has this id, or it is dying',
    'a reference has 128 mappings already',
    "this domain's map-track table is full: unmap something",
    'the map has no references, or more than 65,536',
  ],
  'grant map ENOMEM': [
    'this domain has no memory left for the mapping',
    'the process has as many memory areas as vm.max_map_count allows: raise it, or keep fewer mappings',
  ],
  'grant unmap EINVAL': ['no mapping has this start and this count: unmap what was mapped, whole'],
  'grant unmap ENOENT': ['the mapping is gone already'],
  'grant unmap notify ENOENT': ['no mapping starts there'],
  'grant unmap notify EINVAL': [
    'a byte of a read-only mapping cannot be cleared',
    'the port is not open: bind it through the event channels of this process',
  ],
  'grant copy EINVAL': ['a segment goes over the end of its granted page'],
  'share pages ENOSPC': [
    "gntalloc's limit of pages is reached (1,024 unless set otherwise): unshare some, or raise /sys/module/xen_gntalloc/parameters/limit",
    'the grant table of this domain is full',
  ],
  'share pages EINVAL': ['no pages were asked for'],
  'share pages ENOMEM': ['this domain has no memory left'],
  'event channel allocate unbound ESRCH': ['no domain has this id'],
  'event channel bind interdomain ESRCH': ['no domain has this id'],
  'event channel bind interdomain EINVAL': [
    'the remote port is not open, is bound already, or is offered to another domain',
  ],
  'event channel bind interdomain ENOSPC': ['this domain has no free port: close some'],
  'event channel allocate unbound ENOSPC': ['this domain has no free port: close some'],
  'interrupt level EINVAL': [
    'the guest has no shared peripheral interrupt of this number',
    'Xen gave the line to the guest for a device of the machine, or for its console',
  ],
  'ioreq server create ENOSPC': [
    'the guest has 8 ioreq servers already: device models that were killed leave theirs behind, adopt them',
  ],
  'ioreq server create EINVAL': ['the domain is no guest that can have a device model'],
  'ioreq range map EEXIST': ['the server has a part of the range already'],
  'ioreq range map ENOMEM': ['the server has 256 ranges already'],
  'ioreq range unmap ENOENT': ['the server does not have all of the range', 'the server is gone'],
  'ioreq event channel EINVAL': ['the guest has no such virtual CPU'],
  'ioreq page map ENOTSUP': [NO_IOREQ_SERVERS],
  'domain information EACCES': [
    'this Xen has a version of the domain control interface that is not known here',
  ],
  '* ENOSYS': [NO_IOREQ_SERVERS],
  '* ESRCH': ['no domain has this id, or it is gone'],
  '* ENOENT': ['the ioreq server is gone: closed, or destroyed with its guest'],
  '* ENOTTY': ['the device was closed to this process, as after xentoolcore_restrict_all'],
  '* EPERM': ['this domain is not privileged enough'],
}
