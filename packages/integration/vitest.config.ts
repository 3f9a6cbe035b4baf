import { defineProject, mergeConfig } from 'vitest/config'
import { shared } from '../../vitest.shared.ts'

export default mergeConfig(
  shared,
  defineProject({
    test: {
      name: '@xmc/integration',
      // Leaks are counted in the whole process.
      isolate: true,
      // By itself vitest leaves one core idle, and the longest files are those of one package.
      maxWorkers: '100%',
    },
  }),
)
