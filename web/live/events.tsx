// The live events of the service: one stream for all that is on the page, followed while somebody looks, found again when it is lost.

import { type ComponentChildren, createContext } from 'preact';
import { useContext, useEffect, useMemo, useState } from 'preact/hooks';
import { AnswerError, answerOf, type Client, type Schemas } from '../../src/cli/client/client.ts';
import { readEvents } from '../../src/cli/client/read-events.ts';
import { backOff, delay, useIsVisible } from './waiting.ts';

export type LiveEvent = Schemas['AuditEvent'];
/** `lost`: it is being looked for. `resting`: nobody looks at the page. */
export type Connection = 'connecting' | 'live' | 'lost' | 'resting';
type Listener = (event: LiveEvent | null) => void;

class LiveEvents {
  readonly #client: Client;
  readonly #listeners = new Set<Listener>();
  readonly #onConnection: (connection: Connection) => void;
  /** Number of the last event that came; null before the first. */
  #last: number | null = null;

  constructor(client: Client, onConnection: (connection: Connection) => void) {
    this.#client = client;
    this.#onConnection = onConnection;
  }

  /** @param listener Gets each event, and null where some may have been missed. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async follow(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      try {
        const query = this.#last === null ? {} : { after: this.#last };
        const stream = answerOf(await this.#client.GET('/v1/events', { params: { query }, parseAs: 'stream', signal }));
        failures = 0;
        this.#onConnection('live');
        this.#tell(null);
        for await (const event of readEvents<LiveEvent>(stream, signal)) {
          this.#last = event.number;
          this.#tell(event);
        }
      } catch (error) {
        if (signal.aborted) return;
        // What came after it has been pruned, or is of another database: whoever looks reads anew.
        if (error instanceof AnswerError && error.status < 500 && error.status !== 429) this.#last = null;
      }
      if (signal.aborted) return;
      failures++;
      this.#onConnection('lost');
      await delay(backOff(failures), signal);
    }
  }

  #tell(event: LiveEvent | null): void {
    for (const listener of this.#listeners) listener(event);
  }
}

const Live = createContext<{ readonly events: LiveEvents | null; readonly connection: Connection }>({
  events: null,
  connection: 'connecting',
});

/** Follows the events for what is inside. */
export function LiveEventsOf({ client, children }: { readonly client: Client; readonly children: ComponentChildren }) {
  const [connection, setConnection] = useState<Connection>('connecting');
  const events = useMemo(() => new LiveEvents(client, setConnection), [client]);
  const isVisible = useIsVisible();
  useEffect(() => {
    if (!isVisible) return;
    const leaving = new AbortController();
    events.follow(leaving.signal);
    return () => {
      leaving.abort();
      setConnection('resting');
    };
  }, [events, isVisible]);
  const value = useMemo(() => ({ events, connection }), [events, connection]);
  return <Live.Provider value={value}>{children}</Live.Provider>;
}

export function useConnection(): Connection {
  return useContext(Live).connection;
}

/** Calls back with each event, and with null where some may have been missed; the callback may be another one at each render. */
export function useEvents(listener: Listener): void {
  const { events } = useContext(Live);
  const latest = useMemo<{ current: Listener }>(() => ({ current: listener }), []);
  latest.current = listener;
  useEffect(() => events?.subscribe((event) => latest.current(event)), [events]);
}
