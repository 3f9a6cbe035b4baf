export type { HostWindow, TargetWindow } from '@xmc/interface'
