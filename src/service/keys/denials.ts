// Attempts of known keys at what their roles do not allow: told in the audit trail, once a minute for each key and operation.

import { audit } from '../audit-events/entry.ts';
import type { Store } from '../database/store.ts';
import type { Requester } from '../requester.ts';
import type { KeyHolder, Role } from '../roles.ts';

/** Milliseconds in which the same attempt is told once. */
const interval = 60_000;
/** Attempts that are remembered; beyond, none is told until the interval is over. */
const rememberedLimit = 1_000;

export class Denials {
  readonly #store: Store;
  #remembered = new Set<string>();
  #since = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  /** @param operation What was asked for: the method and the route. */
  async record({ id, role }: KeyHolder, needed: Role, operation: string, requester: Requester): Promise<void> {
    if (performance.now() - this.#since > interval) {
      this.#remembered = new Set();
      this.#since = performance.now();
    }
    const attempt = `${id} ${operation}`;
    if (this.#remembered.has(attempt) || this.#remembered.size >= rememberedLimit) return;
    this.#remembered.add(attempt);
    const detail = { operation, role, needed };
    try {
      await this.#store.transaction((connection) =>
        audit(connection, requester, new Date(), [{ action: 'key.denied', object: id, outcome: 'refused', detail }]),
      );
    } catch (error) {
      // The next attempt is told.
      this.#remembered.delete(attempt);
      throw error;
    }
  }
}
