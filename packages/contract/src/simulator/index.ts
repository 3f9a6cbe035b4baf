export { simulatedEventChannels } from './event-channels.ts'
export { simulatedForeignMemory } from './foreign-memory.ts'
export { simulatedGrantTable } from './grant-table.ts'
