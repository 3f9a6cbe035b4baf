import { asynchronousCases } from './asynchronous.ts'
import { copyingCases } from './copying.ts'
import { edgeCases } from './edges.ts'
import { mappingCases } from './mapping.ts'
import { notifyCases } from './notify.ts'
import { refusalCases } from './refusals.ts'
import type { GrantTableCase } from './steps.ts'
import { unmappingCases } from './unmapping.ts'

/** What every provider of `GrantTable` must do: the cases G1 to G54. */
export const grantTableContract: readonly GrantTableCase[] = [
  ...mappingCases,
  ...refusalCases,
  ...unmappingCases,
  ...notifyCases,
  ...copyingCases,
  ...asynchronousCases,
  ...edgeCases,
]
