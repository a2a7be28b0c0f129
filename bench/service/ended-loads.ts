// Follows the event stream for the ends of loads: an event arrives after its commit.

import { readNewestEventNumber, streamEvents } from '../../src/client/event-stream.ts';
import type { Installation } from './installation.ts';

/** When an event arrived: by the wall clock in milliseconds, and by `performance.now()`. */
type Notified = { readonly at: number; readonly monotonic: number };

/** Timeout of the wait for an end, in milliseconds. */
const silenceMilliseconds = 60_000;

export class EndedLoads {
  readonly #told = new Map<string, Notified>();
  readonly #stop = new AbortController();
  #heard: () => void = () => {};
  /** Why the stream has ended. */
  #failure: Error | null = null;

  static async follow({ client }: Pick<Installation, 'client'>): Promise<EndedLoads> {
    const ended = new EndedLoads();
    const events = streamEvents(client, { after: await readNewestEventNumber(client), types: ['load'], signal: ended.#stop.signal });
    void ended.#listen(events).then(
      () => ended.#fail(new Error('the event stream of the service has ended')),
      (error) => ended.#fail(error instanceof Error ? error : new Error(String(error))),
    );
    return ended;
  }

  /** Waits for the end of a load and returns when its event arrived. @throws {Error} if the stream has ended, or there was no event for a minute. */
  async of(load: string): Promise<Notified> {
    for (;;) {
      const notified = this.#told.get(load);
      if (notified !== undefined) return notified;
      if (this.#failure !== null) throw this.#failure;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const timer = setTimeout(() => reject(new Error(`no event reported the end of load ${load}`)), silenceMilliseconds);
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
