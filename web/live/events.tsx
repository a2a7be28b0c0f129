// The live events of the service, for all that is on the page: followed while somebody looks at it, by a stream that the windows of a browser share.

import { type ComponentChildren, createContext } from 'preact';
import { useContext, useEffect, useMemo, useState } from 'preact/hooks';
import type { Client } from '../../src/client/client.ts';
import { type Connection, followEvents, type LiveEvent, type News } from './event-stream.ts';
import type { Wish } from './shared-events.ts';
import sharedEvents from './shared-events.ts?sharedworker&url';

type Listener = (event: LiveEvent | null) => void;

/** The one script that a page may start by its address; the Content-Security-Policy names this policy and no other. */
const policy = window.trustedTypes?.createPolicy('patchbay-events', { createScriptURL: () => sharedEvents });

class LiveEvents {
  readonly #client: Client;
  readonly #key: string | null;
  readonly #listeners = new Set<Listener>();
  readonly #onConnection: (connection: Connection) => void;

  constructor(client: Client, key: string | null, onConnection: (connection: Connection) => void) {
    this.#client = client;
    this.#key = key;
    this.#onConnection = onConnection;
  }

  /** @param listener Gets each event, and null where some may have been missed. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Follows them while somebody looks at the page. Answers how to end that. */
  followWhileSeen(): () => void {
    let following: AbortController | null = null;
    const end = () => {
      following?.abort();
      following = null;
    };
    // Not by what is rendered: a window that closes does not render any more.
    const look = () => {
      const isSeen = document.visibilityState === 'visible';
      if (isSeen && following === null) {
        following = new AbortController();
        this.#follow(following.signal);
      } else if (!isSeen && following !== null) {
        end();
        this.#onConnection('resting');
      }
    };
    document.addEventListener('visibilitychange', look);
    look();
    return () => {
      document.removeEventListener('visibilitychange', look);
      end();
    };
  }

  #follow(signal: AbortSignal): void {
    const tell = (news: News) => {
      if (!signal.aborted) this.#hear(news);
    };
    const followAlone = () => {
      void followEvents(this.#client, signal, tell);
    };
    // Some browsers of phones have none, and show few windows at once.
    if (typeof SharedWorker === 'undefined') {
      followAlone();
      return;
    }
    const worker = new SharedWorker(policy?.createScriptURL(sharedEvents) ?? sharedEvents, { type: 'module' });
    const ask = (wish: Wish) => worker.port.postMessage(wish);
    // A service that is another version by now does not have it.
    worker.addEventListener('error', followAlone, { once: true, signal });
    worker.port.onmessage = ({ data: news }: MessageEvent<News>) => tell(news);
    ask({ key: this.#key });
    signal.addEventListener('abort', () => {
      ask(null);
      worker.port.close();
    });
  }

  #hear(news: News): void {
    if ('isRefused' in news) {
      // Whoever has signed in is told by the answer that it gets itself.
      void this.#client.GET('/v1/keys/current').catch(() => {});
      return;
    }
    if ('connection' in news) this.#onConnection(news.connection);
    else this.#tell(news.event);
    if ('connection' in news && (news.connection === 'live' || news.connection === 'looking')) this.#tell(null);
  }

  #tell(event: LiveEvent | null): void {
    for (const listener of this.#listeners) listener(event);
  }
}

const Live = createContext<{ readonly events: LiveEvents | null; readonly connection: Connection }>({
  events: null,
  connection: 'connecting',
});

type Parts = { readonly client: Client; readonly apiKey: string | null; readonly children: ComponentChildren };

/** Follows the events for what is inside. @param apiKey What the client shows. */
export function LiveEventsOf({ client, apiKey, children }: Parts) {
  const [connection, setConnection] = useState<Connection>('connecting');
  const events = useMemo(() => new LiveEvents(client, apiKey, setConnection), [client, apiKey]);
  useEffect(() => events.followWhileSeen(), [events]);
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
