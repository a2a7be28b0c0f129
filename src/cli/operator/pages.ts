// Reads and prints lists, page after page.

import { Option } from '@commander-js/extra-typings';
import { readInteger } from '../option-values.ts';
import { formatTable } from '../terminal/table.ts';
import { type CommandContext, printNote, printResult } from './operator.ts';

/** Items per request, the maximum of the service. */
export const pageLimit = 200;
/** Items that `--all` lists. */
export const listLimit = 100_000;
const defaultLimit = 50;

/** An item whose stored row is invalid, so that the service cannot show it. */
type DamagedItem = { readonly id: string; readonly reason: string };
export type Page<Item> = { readonly items: readonly Item[]; readonly damaged?: readonly DamagedItem[]; readonly next: string | null };
type PageQuery = { readonly limit: number; readonly cursor?: string };
type ListOptions = { readonly limit: number; readonly all?: true | undefined };

export const limitOption = () =>
  new Option('--limit <count>', 'maximum number of items')
    .argParser((text) => readInteger('limit', text, 1, listLimit))
    .default(defaultLimit);
export const allOption = () => new Option('--all', `list every item, up to ${listLimit.toLocaleString('en')}`);

/** Reads as many items as the options request. */
export async function readPages<Item>(
  { limit, all }: ListOptions,
  readPage: (query: PageQuery) => Promise<Page<Item>>,
): Promise<{ items: Item[]; damaged: DamagedItem[]; next: string | null }> {
  const maxItems = all ? listLimit : limit;
  const items: Item[] = [];
  const damaged: DamagedItem[] = [];
  let next: string | null = null;
  do {
    const page = await readPage({
      limit: Math.min(pageLimit, maxItems - items.length - damaged.length),
      ...(next === null ? {} : { cursor: next }),
    });
    items.push(...page.items);
    damaged.push(...(page.damaged ?? []));
    next = page.next ?? null;
  } while (next !== null && items.length + damaged.length < maxItems);
  return { items, damaged, next };
}

/** Options that read every item. */
export const allItems: ListOptions = { limit: listLimit, all: true };

/** Prints a list as a table, or as JSON in the form of a page of the API. @param empty Printed if the list has no items. */
export function printList<Item>(
  context: CommandContext,
  list: Page<Item>,
  { headings, row, empty }: { headings: readonly string[]; row: (item: Item) => readonly (string | number)[]; empty: string },
): void {
  printResult(context, list, () => (list.items.length === 0 ? [empty] : formatTable(headings, list.items.map(row))));
  for (const { id, reason } of list.damaged ?? []) printNote(context, `warning: ${id} is not shown: its stored row is invalid (${reason})`);
  if (list.next !== null) printNote(context, `only the first ${list.items.length} items are shown: use --limit or --all`);
}
