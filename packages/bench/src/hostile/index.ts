export * from './block-requests.ts'
export * from './hostile-guest.ts'
export * from './hostile-queue.ts'
export * from './slow-disk.ts'
