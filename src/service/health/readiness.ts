// Readiness: the database accepts writes and has every migration of this version, and the service is not closing.

import type { Store } from '../database/store.ts';
import { findUnavailability } from '../database/unavailable.ts';

/** How long a result is cached, in milliseconds: frequent requests do not cause more disk writes. */
const cacheMilliseconds = 1_000;

export class Readiness {
  readonly #store: Store;
  #isClosing = false;
  #probe: Promise<readonly string[]> | null = null;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Returns why the service is not ready; empty if it is ready. Concurrent calls share one probe of the database. */
  async reasons(): Promise<readonly string[]> {
    this.#probe ??= this.#probeDatabase();
    const reasons = await this.#probe;
    return this.#isClosing ? ['the service is closing', ...reasons] : reasons;
  }

  /** Marks the service as not ready. */
  close(): void {
    this.#isClosing = true;
  }

  async #probeDatabase(): Promise<string[]> {
    try {
      const { writeFault, migrationFaults } = await this.#store.health();
      return [...(writeFault === null ? [] : [`the database does not accept writes: ${writeFault}`]), ...migrationFaults];
    } catch (error) {
      const reason = findUnavailability(error)?.detail;
      return [reason ?? 'the database does not respond'];
    } finally {
      setTimeout(() => {
        this.#probe = null;
      }, cacheMilliseconds).unref();
    }
  }
}
