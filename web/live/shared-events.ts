// A worker shared by all windows of a browser. It opens one event stream per API key, because a browser allows six connections to a service
// and a stream occupies one. The worker ends with the last window.

import { createPatchbayClient } from '../../src/client/client.ts';
import { delay } from '../../src/protocol/back-off.ts';
import { type Connection, type StreamMessage, streamEvents } from './event-stream.ts';

/** A window subscribes to the events of a key, or unsubscribes with null. */
export type Subscription = { readonly key: string | null } | null;

/** Maximum concurrent streams, one per key; the other connections remain for requests. */
const maxStreams = 4;
/** Milliseconds between two attempts of a key without a stream. */
const retryMilliseconds = 5_000;

type Shared = { readonly windows: Set<MessagePort>; readonly ended: AbortController; connection: Connection };

/** Streams by key: a window receives only the events of its own key. */
const shared = new Map<string | null, Shared>();
let streams = 0;

addEventListener('connect', (event) => {
  const window = event instanceof MessageEvent ? event.ports[0] : undefined;
  if (window === undefined) return;
  let leave = () => {};
  window.onmessage = ({ data: subscription }: MessageEvent<Subscription>) => {
    leave();
    leave = subscription === null ? () => {} : join(window, subscription.key);
  };
  // A closed window does not unsubscribe. Browsers without the close event keep the port until the last window closes.
  window.addEventListener('close', () => leave());
});

function join(window: MessagePort, key: string | null): () => void {
  const stream = shared.get(key) ?? begin(key);
  stream.windows.add(window);
  window.postMessage({ connection: stream.connection } satisfies StreamMessage);
  return () => {
    stream.windows.delete(window);
    if (stream.windows.size > 0 || shared.get(key) !== stream) return;
    shared.delete(key);
    stream.ended.abort();
  };
}

function begin(key: string | null): Shared {
  const stream: Shared = { windows: new Set(), ended: new AbortController(), connection: 'connecting' };
  shared.set(key, stream);
  void follow(key, stream.ended.signal, (message) => {
    if ('connection' in message) stream.connection = message.connection;
    for (const window of stream.windows) window.postMessage(message);
  });
  return stream;
}

async function follow(key: string | null, signal: AbortSignal, send: (message: StreamMessage) => void): Promise<void> {
  while (streams >= maxStreams && !signal.aborted) {
    send({ connection: 'looking' });
    await delay(retryMilliseconds, signal);
  }
  if (signal.aborted) return;
  streams++;
  try {
    await streamEvents(createPatchbayClient(location.origin, key), signal, send);
  } finally {
    streams--;
  }
}
