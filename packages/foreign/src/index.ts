export * from './foreign-memory.ts'
export * from './guest-frame.ts'
