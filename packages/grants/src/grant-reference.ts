export { type DomainId, domainId, type GrantReference, grantReference } from '@xmc/interface'
