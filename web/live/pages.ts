// Paginated lists: loads the requested number of pages and refreshes them together.

import { useEffect, useState } from 'preact/hooks';
import { type Resource, useResource } from './resource.ts';

const itemsPerPage = 100;
/** Maximum number of pages; filters find the rest. */
const maxPages = 10;

export type Page<Item> = {
  readonly items: readonly Item[];
  readonly damaged: readonly { readonly id: string }[];
  readonly next: string | null;
};
export type PageQuery = { readonly limit: number; readonly cursor?: string };
export type Pages<Item> = Resource<readonly Item[]> & {
  /** Loads one more page; null on the last page. */
  readonly more: (() => void) | null;
  /** Whether more items exist than the maximum shown. */
  readonly isTruncated: boolean;
  /** Number of items hidden because of damaged database rows. */
  readonly damaged: number;
};

/** Like `useResource`, for a list. @param askPage Requests one page. */
export function usePages<Item>(
  identity: string,
  askPage: (query: PageQuery, signal: AbortSignal) => Promise<Page<Item>>,
  ways: Parameters<typeof useResource>[2] & { readonly limit?: number } = {},
): Pages<Item> {
  const { limit = itemsPerPage } = ways;
  const [pages, setPages] = useState(1);
  useEffect(() => setPages(1), [identity]);
  const { data, ...resource } = useResource<Page<Item>>(
    identity,
    async (signal) => {
      const items: Item[] = [];
      const damaged: { readonly id: string }[] = [];
      let cursor: string | null = null;
      for (let page = 1; page <= pages; page++) {
        const response: Page<Item> = await askPage({ limit, ...(cursor === null ? {} : { cursor }) }, signal);
        items.push(...response.items);
        damaged.push(...response.damaged);
        cursor = response.next;
        if (cursor === null) break;
      }
      return { items, damaged, next: cursor };
    },
    ways,
  );
  useEffect(() => {
    if (pages > 1) resource.refresh();
  }, [pages]);
  const hasMore = data !== null && data.next !== null;
  return {
    ...resource,
    data: data?.items ?? null,
    damaged: data?.damaged.length ?? 0,
    more: hasMore && pages < maxPages ? () => setPages(pages + 1) : null,
    isTruncated: hasMore && pages >= maxPages,
  };
}
