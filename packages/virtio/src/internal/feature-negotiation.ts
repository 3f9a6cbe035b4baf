/** Feature bits between device and driver, seen through windows of 32 (4.2.2). */
export class FeatureNegotiation {
  /** Which half `deviceFeatures` shows. */
  deviceSelect = 0
  /** Which half `driverFeatures` sets. */
  driverSelect = 0

  private readonly offered: bigint
  private readonly required: bigint
  private low = 0
  private high = 0
  private beyond = 0

  constructor(offered: bigint, required: bigint) {
    this.offered = offered
    this.required = required
  }

  /** What the driver took. */
  get accepted(): bigint {
    return (BigInt(this.high) << 32n) | BigInt(this.low)
  }

  /** Whether what the driver took is a set that the device works with (2.2.2). */
  get acceptable(): boolean {
    const { accepted } = this
    const known = this.beyond === 0 && (accepted & ~this.offered) === 0n
    return known && (accepted & this.required) === this.required
  }

  /** 32 bits of what is offered. */
  readDevice(): number {
    if (this.deviceSelect > 1) return 0
    return Number(BigInt.asUintN(32, this.offered >> BigInt(32 * this.deviceSelect)))
  }

  /** Sets 32 bits of what the driver takes. */
  writeDriver(value: number): void {
    if (this.driverSelect === 0) this.low = value
    else if (this.driverSelect === 1) this.high = value
    else this.beyond = value
  }

  reset(): void {
    this.deviceSelect = 0
    this.driverSelect = 0
    this.low = 0
    this.high = 0
    this.beyond = 0
  }
}
