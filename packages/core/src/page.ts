export {
  countPages,
  isPageList,
  PAGE_SHIFT,
  PAGE_SIZE,
  type PageRun,
  type Pages,
  type WindowPage,
  windowPage,
} from '@xmc/interface'
