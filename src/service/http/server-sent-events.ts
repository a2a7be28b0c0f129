// Server-sent events: their form, a sign of life in silence, and an end when the client goes.

import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';

/** Bytes that wait for a client that reads slowly; until it has read some, no more events are made. */
const highWaterMark = 64 * 1024;
/** A stream without events sends a comment this often, in milliseconds, so that both sides know that the other is there. */
const heartbeatInterval = 15_000;
const comment = ': \n\n';

export type ServerSentEvent = { readonly id: number; readonly event: string; readonly data: object };

/** Proxies are asked neither to buffer a stream (`X-Accel-Buffering`, which nginx reads), nor to store, compress or otherwise change it. */
export const eventStreamHeaders = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

/**
 * The stream of events that a response is to be, made as fast as its client reads them.
 * @param follow Begins the events, which are to end with its signal: it is aborted when the client has gone.
 */
export async function eventStream(
  response: ServerResponse,
  follow: (gone: AbortSignal) => Promise<AsyncIterable<ServerSentEvent>>,
): Promise<Readable> {
  const gone = new AbortController();
  // Before anything is awaited, for the client may go meanwhile.
  response.on('close', () => gone.abort());
  return Readable.from(textOf(await follow(gone.signal), response), { objectMode: false, highWaterMark });
}

async function* textOf(events: AsyncIterable<ServerSentEvent>, response: ServerResponse): AsyncGenerator<string> {
  // A client that does not read what it was sent is sent no comments on top.
  const heartbeat = setInterval(() => response.writableNeedDrain || response.write(comment), heartbeatInterval);
  try {
    // Something at once, so that the client knows that the stream stands.
    yield comment;
    for await (const { id, event, data } of events) {
      heartbeat.refresh();
      yield `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    }
  } finally {
    clearInterval(heartbeat);
  }
}
