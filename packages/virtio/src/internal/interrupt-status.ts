import type { Interrupt } from '../interrupt.ts'

/** The interrupt status of a device, and its line, which is high while a bit stands (virtio 1.2, 4.2.2). */
export class InterruptStatus {
  /** `VIRTIO_MMIO_INTERRUPT_*`. */
  bits = 0
  /** Times that the line was raised. */
  raised = 0
  private level = false
  private readonly interrupt: Interrupt
  private readonly report: (error: unknown) => void

  constructor(interrupt: Interrupt, report: (error: unknown) => void) {
    this.interrupt = interrupt
    this.report = report
  }

  /** Sets bits. The guest may be called before it returns. */
  raise(bits: number): void {
    this.bits |= bits
    this.update()
  }

  /** Clears bits. */
  clear(bits: number): void {
    this.bits &= ~bits
    this.update()
  }

  private update(): void {
    const high = this.bits !== 0
    if (high === this.level) return
    this.level = high
    if (high) this.raised += 1
    try {
      this.interrupt.setLevel(high)
    } catch (error) {
      this.report(error)
    }
  }
}
