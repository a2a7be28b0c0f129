// Stored rows that violate their schema: written by hand, by a faulty disk, or by another version. Lists mark them and show the rest, and the health of
// the fleet names them.

import { z } from 'zod';
import { isUnreadable, unreadableFault } from '../store/unreadable.ts';

/** Rows that are remembered; of more, the first found. */
const rememberedLimit = 1_000;
/** Rows that a reason of the health names. */
const namedLimit = 5;
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
    this.fault = faultOf(error);
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

/** A row that violates its schema in a way that no zod schema says. */
export class RowError extends Error {
  override readonly name = 'RowError';
}

/** Whether something failed because a stored row violates its schema. */
export function isDamage(error: unknown): boolean {
  return error instanceof z.core.$ZodError || error instanceof RowError || isUnreadable(error);
}

/** What is wrong with a row: the members that violate its schema. */
export function faultOf(error: unknown): string {
  if (!(error instanceof z.core.$ZodError)) return unreadableFault(error);
  return error.issues
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`))
    .join('; ')
    .slice(0, faultLength);
}

type Found = { readonly name: string; readonly fault: string; readonly at: number };

/** The damaged rows that this process has met. */
export class DamagedRows {
  readonly #found = new Map<string, Found>();

  /** Remembers a row. @param kind What it is, as `load`. */
  note(kind: string, { id, fault }: DamagedItem): void {
    const name = `${kind} ${id}`;
    if (this.#found.has(name) || this.#found.size < rememberedLimit) this.#found.set(name, { name, fault, at: performance.now() });
  }

  /** Forgets a row that could be read. */
  clear(kind: string, id: string): void {
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
