// Lists come in pages: they are followed as far as the operator asks.

import console from 'node:console';
import { Option } from '@commander-js/extra-typings';
import { readInteger } from '../option-values.ts';
import { formatTable } from '../terminal/table.ts';
import { type CommandContext, printResult } from './operator.ts';

/** Items of one request, as many as the service gives. */
export const pageLimit = 200;
/** Items that `--all` follows. */
export const listLimit = 100_000;
const usualLimit = 50;

/** An item of which the stored row is damaged, so that the service cannot show it. */
type DamagedItem = { readonly id: string; readonly reason: string };
export type Page<Item> = { readonly items: readonly Item[]; readonly damaged?: readonly DamagedItem[]; readonly next: string | null };
type PageQuery = { readonly limit: number; readonly cursor?: string };
type ListOptions = { readonly limit: number; readonly all?: true | undefined };

export const limitOption = () =>
  new Option('--limit <count>', 'items to list').argParser((text) => readInteger('limit', text, 1, listLimit)).default(usualLimit);
export const allOption = () => new Option('--all', `every item, up to ${listLimit.toLocaleString('en')}`);

/** The items that the options ask for, page after page. */
export async function readPages<Item>(
  { limit, all }: ListOptions,
  ask: (query: PageQuery) => Promise<Page<Item>>,
): Promise<{ items: Item[]; damaged: DamagedItem[]; next: string | null }> {
  const wanted = all ? listLimit : limit;
  const items: Item[] = [];
  const damaged: DamagedItem[] = [];
  let next: string | null = null;
  do {
    const page = await ask({
      limit: Math.min(pageLimit, wanted - items.length - damaged.length),
      ...(next === null ? {} : { cursor: next }),
    });
    items.push(...page.items);
    damaged.push(...(page.damaged ?? []));
    next = page.next ?? null;
  } while (next !== null && items.length + damaged.length < wanted);
  return { items, damaged, next };
}

export const allItems: ListOptions = { limit: listLimit, all: true };

/** Prints a list as a table, or as JSON of the form that a page of the API has. */
export function printList<Item>(
  operator: CommandContext,
  list: Page<Item>,
  { headings, row, none }: { headings: readonly string[]; row: (item: Item) => readonly (string | number)[]; none: string },
): void {
  printResult(operator, list, () => (list.items.length === 0 ? [none] : formatTable(headings, list.items.map(row))));
  for (const { id, reason } of list.damaged ?? []) console.error(`${id} is not shown: its stored row is damaged (${reason})`);
  if (list.next !== null && !operator.isJson) console.error(`there are more than ${list.items.length} items: use --limit or --all`);
}
