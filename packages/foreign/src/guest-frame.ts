export { type DomainId, domainId, type GuestFrame, guestFrame } from '@xmc/interface'
