import {
  featureSet,
  hasFeature,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
} from '../features.ts'
import {
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_DEVICE_FEATURES_SEL,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
} from '../registers.ts'
import { FeatureNegotiationError } from './errors.ts'

/** Features that a driver asks for, as sets (bit n for feature n). */
export interface FeatureRequest {
  /** Without these the device is of no use. */
  readonly required: bigint
  /** Taken if they are offered. */
  readonly wanted: bigint
}

/** Access to registers that ends with an error once it is out of date. */
export interface RegisterSteps {
  read(register: number): Promise<number>
  write(register: number, value: number): Promise<void>
}

/** Reads the set of features that the device offers (virtio 1.2, 4.2.2). */
export async function readDeviceFeatures(registers: RegisterSteps): Promise<bigint> {
  await registers.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0)
  const low = await registers.read(VIRTIO_MMIO_DEVICE_FEATURES)
  await registers.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1)
  const high = await registers.read(VIRTIO_MMIO_DEVICE_FEATURES)
  return (BigInt(high) << 32n) | BigInt(low)
}

/** Writes the set of features that the driver takes (virtio 1.2, 4.2.2). */
export async function writeDriverFeatures(registers: RegisterSteps, set: bigint): Promise<void> {
  await registers.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0)
  await registers.write(VIRTIO_MMIO_DRIVER_FEATURES, Number(set & 0xffff_ffffn))
  await registers.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1)
  await registers.write(VIRTIO_MMIO_DRIVER_FEATURES, Number((set >> 32n) & 0xffff_ffffn))
}

/**
 * The features to take of those offered: VIRTIO_F_VERSION_1 always (6.1), VIRTIO_F_ACCESS_PLATFORM
 * always when addresses are the platform's and else where it is offered (6.1), and what was asked for.
 *
 * @throws FeatureNegotiationError `ERR_XMC_FEATURES` when a required one is not offered
 */
export function chooseFeatures(
  offered: bigint,
  { required, wanted }: FeatureRequest,
  needsAccessPlatform: boolean,
): bigint {
  const platform = featureSet(VIRTIO_F_ACCESS_PLATFORM)
  const needed = required | featureSet(VIRTIO_F_VERSION_1) | (needsAccessPlatform ? platform : 0n)
  const missing = needed & ~offered
  if (missing !== 0n) {
    const numbers = Array.from({ length: 64 }, (_, feature) => feature).filter((feature) =>
      hasFeature(missing, feature),
    )
    throw new FeatureNegotiationError(
      offered,
      needed,
      `the device does not offer required feature ${numbers.join(', ')}`,
    )
  }
  return offered & (needed | wanted | platform)
}
