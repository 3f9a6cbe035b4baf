/** A Xen for arm64. */
export interface Hypervisor {
  /** Its image. */
  readonly image: string
  /** Name and version, for people. */
  readonly description: string
}
