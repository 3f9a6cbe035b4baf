/** A Linux that boots as dom0 and as guest. */
export interface Kernel {
  /** Its image. */
  readonly image: string
  /** Module files that the initramfs is to have, in an order in which they can be loaded. */
  readonly modules: readonly string[]
  /** Name and version, for people. */
  readonly description: string
}
