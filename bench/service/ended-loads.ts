// Hears from the service's events when loads have ended: an event comes when it is on disk.

import { readNewestEventNumber, streamEvents } from '../../src/client/event-stream.ts';
import type { Installation } from './installation.ts';

/** When an event came: by the clock of this machine in milliseconds, and as `performance.now()` has it. */
type Told = { readonly at: number; readonly monotonic: number };

/** An end that is waited for comes sooner, in milliseconds. */
const silenceMilliseconds = 60_000;

export class EndedLoads {
  readonly #told = new Map<string, Told>();
  readonly #stop = new AbortController();
  #heard: () => void = () => {};
  /** Why nothing more is heard. */
  #failure: Error | null = null;

  static async follow({ client }: Pick<Installation, 'client'>): Promise<EndedLoads> {
    const ended = new EndedLoads();
    const events = streamEvents(client, { after: await readNewestEventNumber(client), types: ['load'], signal: ended.#stop.signal });
    void ended.#listen(events).then(
      () => ended.#fail(new Error('the events of the service have ended')),
      (error) => ended.#fail(error instanceof Error ? error : new Error(String(error))),
    );
    return ended;
  }

  /** When the load's end was told; waits for it. @throws {Error} when the events have ended, or nothing was told for a minute. */
  async of(load: string): Promise<Told> {
    for (;;) {
      const told = this.#told.get(load);
      if (told !== undefined) return told;
      if (this.#failure !== null) throw this.#failure;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const timer = setTimeout(() => reject(new Error(`no event has told of the end of the load ${load}`)), silenceMilliseconds);
      this.#heard = resolve;
      await promise.finally(() => clearTimeout(timer));
    }
  }

  #fail(failure: Error): void {
    this.#failure = failure;
    this.#heard();
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
