// Stored rows that violate their schema: written by hand, by a faulty disk, or by another version. Lists mark them and show the rest, and the health of
// the fleet names them.

import { z } from 'zod';
import { describeDecodeError, isDecodeError, type RowLocation, type UnreadableRow } from './undecodable-row.ts';

/** Rows that are remembered; of more, the first found. */
const rememberedLimit = 1_000;
/** Rows that a reason of the health names. */
const namedLimit = 5;
/** Rows that are read again before they are named. */
const lookedFor = 20;
/** Milliseconds after which a damaged row that was not read again is forgotten: an operator may have removed it. */
const memory = 24 * 3_600_000;
/** Characters of why a row is damaged. */
const faultLength = 300;

/** In the place of an item that cannot be shown. */
export class DamagedItem {
  readonly id: string;
  /** What is wrong with it. */
  readonly fault: string;

  constructor(id: string, error: unknown) {
    this.id = id;
    this.fault = describeFault(error);
  }
}

/** The item as `read` makes it, or a mark in its place where that fails. */
export function readOrMark<Item, View>(item: Item, id: string, read: (item: Item) => View): View | DamagedItem {
  try {
    return read(item);
  } catch (error) {
    return new DamagedItem(id, error);
  }
}

/**
 * Does work for many items at once. Where a damaged row fails that, does it for each item by itself, so that only the items fail whose rows are
 * damaged.
 * @param onDamage Called with each item for which the work failed so.
 */
export async function runBatchOrEach<Item>(
  items: readonly Item[],
  work: (items: readonly Item[]) => Promise<void>,
  onDamage: (item: Item, error: unknown) => void,
): Promise<void> {
  try {
    await work(items);
  } catch (error) {
    if (!isDamagedRowError(error)) throw error;
    const [only, ...others] = items;
    if (only === undefined) throw error;
    if (others.length === 0) onDamage(only, error);
    else for (const item of items) await runBatchOrEach([item], work, onDamage);
  }
}

/** The views of items; where a damaged row fails the reading of all, each is read by itself, and those that fail are marked. */
export async function readViewsOrMarks<Item, View>(
  items: readonly (Item | DamagedItem)[],
  idOf: (item: Item) => string,
  read: (items: readonly Item[]) => Promise<readonly View[]>,
): Promise<(View | DamagedItem)[]> {
  const views: (View | DamagedItem)[] = [];
  const readable = items.filter((item): item is Item => !(item instanceof DamagedItem));
  await runBatchOrEach(
    readable,
    async (some) => void views.push(...(await read(some))),
    (item, error) => void views.push(new DamagedItem(idOf(item), error)),
  );
  let next = 0;
  return items.flatMap((item) => (item instanceof DamagedItem ? item : (views[next++] ?? [])));
}

/** A row that violates its schema in a way that no zod schema says. */
export class RowError extends Error {
  override readonly name = 'RowError';
}

/** Whether something failed because a stored row violates its schema. */
export function isDamagedRowError(error: unknown): boolean {
  return error instanceof z.core.$ZodError || error instanceof RowError || isDecodeError(error);
}

/** What is wrong with a row: the members that violate its schema. */
export function describeFault(error: unknown): string {
  if (!(error instanceof z.core.$ZodError)) return describeDecodeError(error);
  return error.issues
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`))
    .join('; ')
    .slice(0, faultLength);
}

type Found = {
  readonly name: string;
  readonly fault: string;
  readonly at: number;
  /** Where the row is, to look whether it was corrected; null where that is seen when it is shown again. */
  readonly place: RowLocation | null;
};

/** The damaged rows that this process has met. */
export class DamagedRows {
  readonly #found = new Map<string, Found>();

  /** Remembers a row. @param kind What it is, as `load`. */
  record(kind: string, { id, fault }: DamagedItem): void {
    this.#note(`${kind} ${id}`, fault, this.#found.get(`${kind} ${id}`)?.place ?? null);
  }

  /** Remembers a row that the database cannot decode. */
  recordUnreadable({ kind, id, fault, location: place }: UnreadableRow): void {
    this.#note(`${kind} ${id}`, fault, place);
  }

  #note(name: string, fault: string, place: RowLocation | null): void {
    if (this.#found.has(name) || this.#found.size < rememberedLimit) this.#found.set(name, { name, fault, place, at: performance.now() });
  }

  /** Forgets rows that were corrected or removed: of those that can be looked for, the first few. */
  async removeCorrected(isUndecodable: (place: RowLocation) => Promise<boolean>): Promise<void> {
    const findable = [...this.#found.values()].filter(({ place }) => place !== null).slice(0, lookedFor);
    for (const { name, place } of findable) if (place !== null && !(await isUndecodable(place))) this.#found.delete(name);
  }

  /** Forgets a row that could be read. */
  remove(kind: string, id: string): void {
    if (this.#found.size > 0) this.#found.delete(`${kind} ${id}`);
  }

  /** For the health of the fleet: which rows are damaged, and what to do; nothing where none was met. */
  get reasons(): string[] {
    for (const { name, at } of this.#found.values()) if (performance.now() - at > memory) this.#found.delete(name);
    if (this.#found.size === 0) return [];
    const named = [...this.#found.values()].slice(0, namedLimit).map(({ name, fault }) => `${name} (${fault})`);
    const others = this.#found.size > namedLimit ? `, and ${this.#found.size - namedLimit} more` : '';
    return [`stored rows are damaged: ${named.join(', ')}${others}; correct them in the database, or restore it from a backup`];
  }
}
