export { XmcError } from '@xmc/interface'
export * from '../../src/index.ts'
