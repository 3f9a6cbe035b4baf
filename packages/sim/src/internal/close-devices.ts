import type { OpenDevice } from './parts.ts'

/** Closes devices, whichever fails; then throws the first error. */
export function closeDevices(devices: readonly OpenDevice[]): void {
  const errors: unknown[] = []
  for (const device of devices) {
    try {
      device.close()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
}
