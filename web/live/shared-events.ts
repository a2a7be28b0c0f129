// A worker that all windows of a browser share: it follows the events once for each key, for a browser makes six connections to a service, and a stream takes
// one of them for as long as it lasts. It ends with the last window.

import { createPatchbayClient } from '../../src/client/client.ts';
import { delay } from '../../src/protocol/back-off.ts';
import { type Connection, followEvents, type News } from './event-stream.ts';

/** What a window asks for: to be told what the key may see; null: no more. */
export type Wish = { readonly key: string | null } | null;

/** Streams at once, one for each key that windows show: the other connections are for what they ask. */
const mostStreams = 4;
/** Milliseconds between two looks where there are more keys than that. */
const lookEvery = 5_000;

type Shared = { readonly windows: Set<MessagePort>; readonly ended: AbortController; connection: Connection };

/** By key: who shows another is told nothing of this one. */
const shared = new Map<string | null, Shared>();
let streams = 0;

addEventListener('connect', (event) => {
  const window = event instanceof MessageEvent ? event.ports[0] : undefined;
  if (window === undefined) return;
  let leave = () => {};
  window.onmessage = ({ data: wish }: MessageEvent<Wish>) => {
    leave();
    leave = wish === null ? () => {} : join(window, wish.key);
  };
  // A window that was closed without a word; a browser that does not tell keeps the port until the last window is gone.
  window.addEventListener('close', () => leave());
});

function join(window: MessagePort, key: string | null): () => void {
  const stream = shared.get(key) ?? begin(key);
  stream.windows.add(window);
  window.postMessage({ connection: stream.connection } satisfies News);
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
  void follow(key, stream.ended.signal, (news) => {
    if ('connection' in news) stream.connection = news.connection;
    for (const window of stream.windows) window.postMessage(news);
  });
  return stream;
}

async function follow(key: string | null, signal: AbortSignal, tell: (news: News) => void): Promise<void> {
  while (streams >= mostStreams && !signal.aborted) {
    tell({ connection: 'looking' });
    await delay(lookEvery, signal);
  }
  if (signal.aborted) return;
  streams++;
  try {
    await followEvents(createPatchbayClient(location.origin, key), signal, tell);
  } finally {
    streams--;
  }
}
