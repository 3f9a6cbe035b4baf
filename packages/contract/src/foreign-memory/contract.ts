import { asynchronousCases } from './asynchronous.ts'
import { edgeCases } from './edges.ts'
import { failureCases } from './failures.ts'
import { mappingCases } from './mapping.ts'
import type { ForeignMemoryCase } from './steps.ts'
import { unmappingCases } from './unmapping.ts'

/** What every provider of `ForeignMemory` must do: the cases F1 to F36. */
export const foreignMemoryContract: readonly ForeignMemoryCase[] = [
  ...mappingCases,
  ...failureCases,
  ...unmappingCases,
  ...asynchronousCases,
  ...edgeCases,
]
