import { type GrantReference, grantReference, isPageList, type Pages } from '@xmc/interface'

/** The references of `pages` in their order, at most `limit` of them. */
export function* referencesOf(
  pages: Pages<GrantReference>,
  limit: number = Number.POSITIVE_INFINITY,
): Generator<GrantReference, void, void> {
  if (isPageList(pages)) {
    yield* pages.length > limit ? pages.slice(0, limit) : pages
    return
  }
  for (let index = 0; index < pages.count && index < limit; index++) {
    yield grantReference(pages.first + index)
  }
}
