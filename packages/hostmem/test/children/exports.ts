export { XmcError } from '@xmc/core'
export * from '../../src/index.ts'
