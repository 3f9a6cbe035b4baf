export * from './grant-reference.ts'
export * from './grant-table.ts'
