// Lists that the service answers page by page: as many pages as somebody has asked for, read again together.

import { useEffect, useState } from 'preact/hooks';
import { type Resource, useResource } from './resource.ts';

const itemsOnPage = 100;
/** Pages that are shown at most: whoever looks for more is helped by a filter. */
const mostPages = 10;

export type Page<Item> = {
  readonly items: readonly Item[];
  readonly damaged: readonly { readonly id: string }[];
  readonly next: string | null;
};
export type PageQuery = { readonly limit: number; readonly cursor?: string };
export type Pages<Item> = Resource<readonly Item[]> & {
  /** Shows one page more; null where there is none. */
  readonly more: (() => void) | null;
  /** Whether there is more than is shown at most. */
  readonly isCut: boolean;
  /** Items that the service cannot show, because their stored rows are damaged. */
  readonly damaged: number;
};

/** As `useResource`, of a list. @param askPage Asks for one page. */
export function usePages<Item>(
  identity: string,
  askPage: (query: PageQuery, signal: AbortSignal) => Promise<Page<Item>>,
  ways: Parameters<typeof useResource>[2] & { readonly limit?: number } = {},
): Pages<Item> {
  const { limit = itemsOnPage } = ways;
  const [pages, setPages] = useState(1);
  useEffect(() => setPages(1), [identity]);
  const { data, ...resource } = useResource<Page<Item>>(
    identity,
    async (signal) => {
      const items: Item[] = [];
      const damaged: { readonly id: string }[] = [];
      let cursor: string | null = null;
      for (let page = 1; page <= pages; page++) {
        const answer: Page<Item> = await askPage({ limit, ...(cursor === null ? {} : { cursor }) }, signal);
        items.push(...answer.items);
        damaged.push(...answer.damaged);
        cursor = answer.next;
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
    more: hasMore && pages < mostPages ? () => setPages(pages + 1) : null,
    isCut: hasMore && pages >= mostPages,
  };
}
