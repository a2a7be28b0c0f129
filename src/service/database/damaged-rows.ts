// Stored rows that violate their schema: edited by hand, written by a faulty disk or by another version. Lists mark them and return the rest; the fleet
// health lists them.

import { z } from 'zod';
import { describeDecodeError, isDecodeError, type RowLocation, type UndecodableRow } from './undecodable-row.ts';

/** Maximum rows remembered; rows found later are ignored. */
const maxRemembered = 1_000;
/** Maximum rows named in the health reason. */
const maxNamed = 5;
/** Maximum rows that are re-read by one check. */
const maxRechecked = 20;
/** Milliseconds after which a damaged row that was not read again is removed: an operator may have deleted it. */
const expiry = 24 * 3_600_000;
/** Maximum length of a fault description, in characters. */
const maxFaultLength = 300;

/** Takes the place of an item that cannot be returned. */
export class DamagedItem {
  readonly id: string;
  /** Description of the fault. */
  readonly fault: string;

  constructor(id: string, error: unknown) {
    this.id = id;
    this.fault = describeFault(error);
  }
}

/** Returns the view of an item, or a `DamagedItem` if `read` throws. */
export function readOrMark<Item, View>(item: Item, id: string, read: (item: Item) => View): View | DamagedItem {
  try {
    return read(item);
  } catch (error) {
    return new DamagedItem(id, error);
  }
}

/**
 * Runs work for a batch of items. If it fails because of a damaged row, runs it for each item separately, so that only items with damaged rows fail.
 * @param onDamage Called with each item whose work failed because of a damaged row.
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

/** Reads the views of items in a batch. If a damaged row fails the batch, reads each item separately, and returns a `DamagedItem` for each that fails. */
export async function readViewsOrMarks<Item, View>(
  items: readonly (Item | DamagedItem)[],
  idOf: (item: Item) => string,
  read: (items: readonly Item[]) => Promise<readonly View[]>,
): Promise<(View | DamagedItem)[]> {
  const views: (View | DamagedItem)[] = [];
  const readable = items.filter((item): item is Item => !(item instanceof DamagedItem));
  await runBatchOrEach(
    readable,
    async (batch) => void views.push(...(await read(batch))),
    (item, error) => void views.push(new DamagedItem(idOf(item), error)),
  );
  let next = 0;
  return items.flatMap((item) => (item instanceof DamagedItem ? item : (views[next++] ?? [])));
}

/** A row that violates its schema in a way that no Zod schema covers. */
export class RowError extends Error {
  override readonly name = 'RowError';
}

/** Returns whether an error was caused by a stored row that violates its schema. */
export function isDamagedRowError(error: unknown): boolean {
  return error instanceof z.core.$ZodError || error instanceof RowError || isDecodeError(error);
}

/** Describes the fault of a row: the members that violate its schema. */
export function describeFault(error: unknown): string {
  if (!(error instanceof z.core.$ZodError)) return describeDecodeError(error);
  return error.issues
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`))
    .join('; ')
    .slice(0, maxFaultLength);
}

type DamagedRow = {
  readonly name: string;
  readonly fault: string;
  readonly at: number;
  /** The location of the row, to check whether it was corrected; null if that is noticed when the row is returned again. */
  readonly location: RowLocation | null;
};

/** The damaged rows that this process has found. */
export class DamagedRows {
  readonly #rows = new Map<string, DamagedRow>();

  /** Records a row. @param kind The kind of the row, for example `load`. */
  record(kind: string, { id, fault }: DamagedItem): void {
    this.#record(`${kind} ${id}`, fault, this.#rows.get(`${kind} ${id}`)?.location ?? null);
  }

  /** Records a row that cannot be decoded. */
  recordUndecodable({ kind, id, fault, location }: UndecodableRow): void {
    this.#record(`${kind} ${id}`, fault, location);
  }

  #record(name: string, fault: string, location: RowLocation | null): void {
    if (this.#rows.has(name) || this.#rows.size < maxRemembered) this.#rows.set(name, { name, fault, location, at: performance.now() });
  }

  /** Removes rows that were corrected or deleted; checks the first rows with a known location. */
  async removeCorrected(isUndecodable: (location: RowLocation) => Promise<boolean>): Promise<void> {
    const located = [...this.#rows.values()].filter(({ location }) => location !== null).slice(0, maxRechecked);
    for (const { name, location } of located) if (location !== null && !(await isUndecodable(location))) this.#rows.delete(name);
  }

  /** Removes a row that could be read. */
  remove(kind: string, id: string): void {
    if (this.#rows.size > 0) this.#rows.delete(`${kind} ${id}`);
  }

  /** Reasons for the fleet health: the damaged rows and what to do. Empty if there are none. */
  get reasons(): string[] {
    for (const { name, at } of this.#rows.values()) if (performance.now() - at > expiry) this.#rows.delete(name);
    if (this.#rows.size === 0) return [];
    const named = [...this.#rows.values()].slice(0, maxNamed).map(({ name, fault }) => `${name} (${fault})`);
    const others = this.#rows.size > maxNamed ? `, and ${this.#rows.size - maxNamed} more` : '';
    return [`stored rows are damaged: ${named.join(', ')}${others}; correct them in the database, or restore it from a backup`];
  }
}
