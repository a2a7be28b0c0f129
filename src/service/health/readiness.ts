// Whether the service can do its work: the database takes writes and is the one of this version, and the service is not closing.

import type { Store } from '../database/store.ts';
import { findUnavailability } from '../database/unavailable.ts';

/** How long what was found is told again, in milliseconds: whoever asks more often does not write to the disk more often. */
const cacheMilliseconds = 1_000;

export class Readiness {
  readonly #store: Store;
  #isClosing = false;
  #probe: Promise<readonly string[]> | null = null;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Why the service cannot do its work; nothing where it can. All who ask at once are answered by one look at the database. */
  async reasons(): Promise<readonly string[]> {
    this.#probe ??= this.#probeDatabase();
    const reasons = await this.#probe;
    return this.#isClosing ? ['the service is closing', ...reasons] : reasons;
  }

  /** From now on it is not ready any more. */
  close(): void {
    this.#isClosing = true;
  }

  async #probeDatabase(): Promise<string[]> {
    try {
      const { writeFault, migrationFaults } = await this.#store.health();
      return [...(writeFault === null ? [] : [`the database takes no writes: ${writeFault}`]), ...migrationFaults];
    } catch (error) {
      const reason = findUnavailability(error)?.detail;
      return [reason ?? 'the database does not answer'];
    } finally {
      setTimeout(() => {
        this.#probe = null;
      }, cacheMilliseconds).unref();
    }
  }
}
