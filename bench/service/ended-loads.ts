// Hears from the service's events when loads have ended: an event comes when it is on disk.

import { followEvents, newestEvent } from '../../src/cli/client/event-stream.ts';
import type { Installation } from './installation.ts';

/** When an event came: by the clock of this machine in milliseconds, and as `performance.now()` has it. */
type Told = { readonly at: number; readonly monotonic: number };

export class EndedLoads {
  readonly #told = new Map<string, Told>();
  readonly #stop = new AbortController();
  #heard: () => void = () => {};

  static async follow({ client }: Installation): Promise<EndedLoads> {
    const ended = new EndedLoads();
    ended.#listen(followEvents(client, { after: await newestEvent(client), types: ['load'], signal: ended.#stop.signal }));
    return ended;
  }

  /** When the load's end was told; waits for it. */
  async of(load: string): Promise<Told> {
    for (;;) {
      const told = this.#told.get(load);
      if (told !== undefined) return told;
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  close(): void {
    this.#stop.abort();
  }

  async #listen(events: AsyncIterable<{ readonly action: string; readonly object: string }>): Promise<void> {
    for await (const { action, object } of events) {
      if (action !== 'load.completed') continue;
      this.#told.set(object, { at: Date.now(), monotonic: performance.now() });
      this.#heard();
    }
  }
}
