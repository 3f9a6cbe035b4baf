export * from './backend.ts'
export * from './errors.ts'
export * from './page.ts'
export * from './window.ts'
