export * from './guest-memory.ts'
