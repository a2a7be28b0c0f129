// The live events for all components of a page. All windows of a browser share one stream, which runs while a window is visible.

import { type ComponentChildren, createContext } from 'preact';
import { useContext, useEffect, useMemo, useState } from 'preact/hooks';
import type { Client } from '../../src/client/client.ts';
import { type Connection, type LiveEvent, type StreamMessage, streamEvents } from './event-stream.ts';
import type { Subscription } from './shared-events.ts';
import sharedEvents from './shared-events.ts?sharedworker&url';

type Listener = (event: LiveEvent | null) => void;

/** Allows the URL of the shared worker, the only script URL that the Content-Security-Policy accepts. */
const policy = window.trustedTypes?.createPolicy('patchbay-events', { createScriptURL: () => sharedEvents });

/** Milliseconds between refreshes of the pages with a key that has a scope: it cannot read the event stream. */
const refreshInterval = 5_000;

class LiveEvents {
  readonly #client: Client;
  readonly #key: string | null;
  readonly #hasScope: boolean;
  readonly #listeners = new Set<Listener>();
  readonly #onConnection: (connection: Connection) => void;

  constructor(client: Client, key: string | null, hasScope: boolean, onConnection: (connection: Connection) => void) {
    this.#client = client;
    this.#key = key;
    this.#hasScope = hasScope;
    this.#onConnection = onConnection;
  }

  /** @param listener Receives each event, and null when events may have been missed. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Receives events while the page is visible. Returns a function that stops it. */
  followWhileVisible(): () => void {
    let following: AbortController | null = null;
    const end = () => {
      following?.abort();
      following = null;
    };
    // An event listener rather than a render effect: a closing window does not render.
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
    if (this.#hasScope) {
      this.#receive({ connection: 'looking' });
      const timer = setInterval(() => this.#notify(null), refreshInterval);
      signal.addEventListener('abort', () => clearInterval(timer));
      return;
    }
    const receive = (message: StreamMessage) => {
      if (!signal.aborted) this.#receive(message);
    };
    const streamInThisWindow = () => {
      void streamEvents(this.#client, signal, receive);
    };
    // Some mobile browsers have no SharedWorker; they show few windows at a time.
    if (typeof SharedWorker === 'undefined') {
      streamInThisWindow();
      return;
    }
    const worker = new SharedWorker(policy?.createScriptURL(sharedEvents) ?? sharedEvents, { type: 'module' });
    const subscribe = (subscription: Subscription) => worker.port.postMessage(subscription);
    // The script is missing if the service was upgraded since the page was loaded.
    worker.addEventListener('error', streamInThisWindow, { once: true, signal });
    worker.port.onmessage = ({ data: message }: MessageEvent<StreamMessage>) => receive(message);
    subscribe({ key: this.#key });
    signal.addEventListener('abort', () => {
      subscribe(null);
      worker.port.close();
    });
  }

  #receive(message: StreamMessage): void {
    if ('isRefused' in message) {
      // The 401 response to this request signs the user out.
      void this.#client.GET('/v1/keys/current').catch(() => {});
      return;
    }
    if ('connection' in message) this.#onConnection(message.connection);
    else this.#notify(message.event);
    if ('connection' in message && (message.connection === 'live' || message.connection === 'looking')) this.#notify(null);
  }

  #notify(event: LiveEvent | null): void {
    for (const listener of this.#listeners) listener(event);
  }
}

const Live = createContext<{ readonly events: LiveEvents | null; readonly connection: Connection }>({
  events: null,
  connection: 'connecting',
});

type Parts = { readonly client: Client; readonly apiKey: string | null; readonly hasScope: boolean; readonly children: ComponentChildren };

/** Provides live events to its children. @param apiKey The client's API key. @param hasScope Whether the key has a scope. */
export function LiveEventsProvider({ client, apiKey, hasScope, children }: Parts) {
  const [connection, setConnection] = useState<Connection>('connecting');
  const events = useMemo(() => new LiveEvents(client, apiKey, hasScope, setConnection), [client, apiKey, hasScope]);
  useEffect(() => events.followWhileVisible(), [events]);
  const value = useMemo(() => ({ events, connection }), [events, connection]);
  return <Live.Provider value={value}>{children}</Live.Provider>;
}

export function useConnection(): Connection {
  return useContext(Live).connection;
}

/** Calls back with each event, and with null when events may have been missed. The callback may change at each render. */
export function useEvents(listener: Listener): void {
  const { events } = useContext(Live);
  const latest = useMemo<{ current: Listener }>(() => ({ current: listener }), []);
  latest.current = listener;
  useEffect(() => events?.subscribe((event) => latest.current(event)), [events]);
}
