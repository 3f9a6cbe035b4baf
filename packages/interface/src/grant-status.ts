/**
 * Statuses of a grant operation (`xen/include/public/grant_table.h`), under their names without `GNTST_`:
 * 0 is success, everything else negative.
 */
export const GRANT_STATUS = {
  /** Done. */
  okay: 0,
  /** Refused: wrong grantee, not granted, write to a read-only grant, pin limit, wrong address. */
  general_error: -1,
  /** No such domain, or a reserved domain id. */
  bad_domain: -2,
  /** Reference beyond the table, or a map that asks for neither a host nor a device mapping. */
  bad_gntref: -3,
  /** No mapping has this handle. */
  bad_handle: -4,
  /** Inappropriate virtual address. */
  bad_virt_addr: -5,
  /** Inappropriate device address. */
  bad_dev_addr: -6,
  /** No space in the I/O MMU. */
  no_device_space: -7,
  /** Refused by the security module. */
  permission_denied: -8,
  /** The granted frame is not a page of the granter. */
  bad_page: -9,
  /** A copy crosses the end of a page. */
  bad_copy_arg: -10,
  /** Page address too large. */
  address_too_big: -11,
  /** Paged out, or in use: try again. */
  eagain: -12,
  /** The mapper's map-track is exhausted. */
  no_space: -13,
} as const

/** One of the values of {@link GRANT_STATUS}. */
export type GrantStatus = (typeof GRANT_STATUS)[keyof typeof GRANT_STATUS]

/** A status other than `okay`. */
export type GrantFailure = Exclude<GrantStatus, typeof GRANT_STATUS.okay>

/** What is known of one answer of Xen's grant-table operations. */
export interface GrantStatusDescription {
  /** The number: 0, or negative. */
  readonly status: number
  /** The name in Xen's public header, as `GNTST_bad_gntref`. */
  readonly name: string
  /** What it means for whoever maps or copies. */
  readonly meaning: string
}

/** Xen's grant-table statuses, in the order of their numbers. */
export const GRANT_STATUSES: readonly GrantStatusDescription[] = [
  status(0, 'GNTST_okay', 'the operation was done'),
  status(
    -1,
    'GNTST_general_error',
    'the entry is unused, granted to another domain or for less access, or has too many mappings',
  ),
  status(-2, 'GNTST_bad_domain', 'no domain has this id, or the caller may not use it'),
  status(-3, 'GNTST_bad_gntref', "the reference lies outside the granter's table"),
  status(-4, 'GNTST_bad_handle', 'no mapping has this handle'),
  status(-5, 'GNTST_bad_virt_addr', 'the virtual address cannot take a mapping'),
  status(-6, 'GNTST_bad_dev_addr', 'the device address is not that of the mapping'),
  status(-7, 'GNTST_no_device_space', 'the I/O memory unit has no room for another mapping'),
  status(-8, 'GNTST_permission_denied', "the hypervisor's security policy forbids it"),
  status(-9, 'GNTST_bad_page', 'the granted frame has no usable memory behind it'),
  status(-10, 'GNTST_bad_copy_arg', 'the copy goes over the end of a page'),
  status(-11, 'GNTST_address_too_big', 'the frame number does not fit the call'),
  status(-12, 'GNTST_eagain', 'the granted page is paged out: try again'),
  status(-13, 'GNTST_no_space', "the caller's map-track table is full: unmap something"),
]

/** The name of a status, as `GNTST_bad_gntref`; `GNTST N` for a number that Xen's header does not have. */
export function grantStatusName(value: number): string {
  return byNumber(value)?.name ?? `GNTST ${value}`
}

/** What a status means, in one clause; for an unknown number, that it is unknown. */
export function grantStatusMeaning(value: number): string {
  return byNumber(value)?.meaning ?? 'Xen gave a status that its public header does not name'
}

function byNumber(value: number): GrantStatusDescription | undefined {
  return GRANT_STATUSES[-value]
}

function status(number: number, name: string, meaning: string): GrantStatusDescription {
  return { status: number, name, meaning }
}
