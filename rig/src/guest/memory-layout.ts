/**
 * Guest-physical memory of the rig's guest. Its Linux is told to use less than there is, and the guest's
 * program has the rest to itself.
 *
 * ```
 * 0x40000000            0x5ff00000   0x5ff10000              0x60080000
 *     | Linux, 511 MiB       | mailbox    | reserved frames        | nothing
 * ```
 */

/** Consecutive frames. */
export interface FrameRun {
  readonly first: number
  readonly count: number
}

/** First frame of RAM: where Xen's public header for Arm puts the lower bank. */
const ramFirstFrame = 0x40000

/**
 * Memory of the guest in KiB. The half MiB at its end puts the border of RAM into the middle of a bucket of 1 MiB.
 */
export const guestKibibytes: number = 512 * 1024 + 512

/** What Linux is told to use, in MiB; the rest is reserved. */
export const linuxMebibytes = 511

/** First of the reserved frames. */
const reservedFirstFrame = ramFirstFrame + linuxMebibytes * 256

/** Behind the last frame of RAM. */
const ramEndFrame = ramFirstFrame + guestKibibytes / 4

/** Frames in which dom0 and guest leave messages for each other. */
export const mailboxFrames: FrameRun = { first: reservedFirstFrame, count: 16 }

/** Frames that nobody uses, zeros at first. */
export const reservedFrames: FrameRun = {
  first: mailboxFrames.first + mailboxFrames.count,
  count: ramEndFrame - reservedFirstFrame - mailboxFrames.count,
}

/** The last of the reserved frames: there is no memory behind it. */
export const borderFrame: number = ramEndFrame - 1

/** A frame without memory, far from any that has some. */
export const holeFrame = 0x10
