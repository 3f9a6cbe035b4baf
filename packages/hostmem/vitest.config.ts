import { defineProject, mergeConfig } from 'vitest/config'
import { shared } from '../../vitest.shared.ts'

export default mergeConfig(
  shared,
  defineProject({
    test: {
      name: '@xmc/hostmem',
      // Areas, limits and files of the process are what is tested.
      isolate: true,
    },
  }),
)
