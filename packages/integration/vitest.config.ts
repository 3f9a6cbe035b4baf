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
      // Projects with other numbers of workers cannot run beside it in the one run of all that measures coverage.
      sequence: { groupOrder: 1 },
    },
  }),
)
