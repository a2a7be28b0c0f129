// Records requests that the roles or the scope of a key or user do not permit in the audit trail, once per minute for each of them and operation.

import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Store } from '../database/store.ts';
import type { Requester } from '../requester.ts';
import type { DenialCause, Denied } from '../roles.ts';

/** Milliseconds in which the same denial is recorded once. */
const interval = 60_000;
/** Maximum number of remembered denials; further ones are not recorded until the interval ends. */
const rememberedLimit = 1_000;

export class Denials {
  readonly #store: Store;
  readonly #clock: Clock;
  #remembered = new Set<string>();
  #since = 0;

  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }) {
    this.#store = store;
    this.#clock = clock;
  }

  /** @param operation Method and route of the request. */
  async record({ kind, id, roles }: Denied, cause: DenialCause, operation: string, requester: Requester): Promise<void> {
    if (performance.now() - this.#since > interval) {
      this.#remembered = new Set();
      this.#since = performance.now();
    }
    const denial = `${id} ${operation}`;
    if (this.#remembered.has(denial) || this.#remembered.size >= rememberedLimit) return;
    this.#remembered.add(denial);
    const detail = { operation, role: roles.join(' '), ...cause };
    try {
      await this.#store.transaction((connection) =>
        audit(connection, requester, this.#clock.now(), [{ action: `${kind}.denied`, object: id, outcome: 'refused', detail }]),
      );
    } catch (error) {
      // The next denial is recorded.
      this.#remembered.delete(denial);
      throw error;
    }
  }
}
