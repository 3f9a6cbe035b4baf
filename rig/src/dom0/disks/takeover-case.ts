import { equal, match } from 'node:assert/strict'
import { guestDomain } from '../guest.ts'
import type { Case } from '../suite.ts'
import { type Backend, Backends } from './backend.ts'
import { type DiskImage, digestOf } from './disk-image.ts'
import { type GuestDisks, TREE } from './guest-disks.ts'
import { makeImages } from './served-disks.ts'
import { connect, copyTree } from './steps.ts'

/** What is particular to a case in which a backend is killed and another takes over. */
interface Takeover {
  readonly id: string
  readonly title: string
  /** What goes on when the first backend is killed; a tree was copied to each disk before. */
  readonly before: (guest: GuestDisks, paths: readonly string[]) => Promise<void>
  /** What happens to the one that has taken over, its end too. */
  readonly after: (guest: GuestDisks, next: Backend) => Promise<void>
  /** What an image takes at the end until its file system is clean. */
  readonly settle: (image: DiskImage) => Promise<void>
}

/** A backend that is killed; the next one takes over, and what the guest had synced is on the images. */
export function takeoverCase({ id, title, before, after, settle }: Takeover): Case {
  return {
    id,
    title,
    run: async () => {
      const images = await makeImages()
      const paths = images.map(({ path }) => path)
      using backends = new Backends(guestDomain, paths)
      const killed = await backends.start()
      const guest = await connect()
      await guest.bind()
      for (const slot of [0, 1]) await copyTree(guest, slot)
      await before(guest, paths)
      await killed.kill()
      const next = await backends.start()
      match(next.notices, /took over the ioreq server/)
      await after(guest, next)
      for (const image of images) {
        await settle(image)
        equal(await image.digestOf('tree'), await digestOf(TREE))
      }
    },
  }
}
