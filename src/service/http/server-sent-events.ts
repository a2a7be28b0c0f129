// Server-sent events: format, heartbeats, and the end of a stream when the client disconnects.

import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyRequest } from 'fastify';
import { isStillAuthenticated, millisecondsUntilExpiry } from './access.ts';

/** Bytes buffered for a slow client; no more events are produced until it has read some. */
const highWaterMark = 64 * 1024;
/** Interval of comments on a stream without events, in milliseconds, so that both sides detect a lost connection. */
const heartbeatInterval = 15_000;
/** Interval at which the credential of a stream is checked, in milliseconds; it is also checked when it expires. */
const credentialCheckInterval = 15_000;
const comment = ': \n\n';

export type ServerSentEvent = { readonly id: number; readonly event: string; readonly data: object };

/** Headers that ask proxies not to buffer a stream (`X-Accel-Buffering`, nginx), and not to store, compress or transform it. */
export const eventStreamHeaders = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

/**
 * Returns the event stream of a response; events are produced as fast as the client reads them.
 * @param subscribe Starts the events. They must end when the signal is aborted: when the client disconnects, or its credential is no longer valid.
 */
export async function eventStream(
  request: FastifyRequest,
  response: ServerResponse,
  subscribe: (disconnected: AbortSignal) => Promise<AsyncIterable<ServerSentEvent>>,
): Promise<Readable> {
  const disconnected = new AbortController();
  // Registered before the first await: the client may disconnect meanwhile.
  response.on('close', () => disconnected.abort());
  void abortWithoutCredential(request, disconnected);
  return Readable.from(textOf(await subscribe(disconnected.signal), response), { objectMode: false, highWaterMark });
}

/** Aborts a stream soon after the credential of its request becomes invalid. */
async function abortWithoutCredential(request: FastifyRequest, stream: AbortController): Promise<void> {
  while (!stream.signal.aborted) {
    // Rejects when the stream ends.
    await delay(Math.min(credentialCheckInterval, millisecondsUntilExpiry(request)), undefined, { signal: stream.signal }).catch(() => {});
    if (!stream.signal.aborted && !(await isStillAuthenticated(request))) stream.abort();
  }
}

async function* textOf(events: AsyncIterable<ServerSentEvent>, response: ServerResponse): AsyncGenerator<string> {
  // No comments are sent to a client that does not read.
  const heartbeat = setInterval(() => response.writableNeedDrain || response.write(comment), heartbeatInterval);
  try {
    // The first bytes show the client that the stream is open.
    yield comment;
    for await (const { id, event, data } of events) {
      heartbeat.refresh();
      yield `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    }
  } finally {
    clearInterval(heartbeat);
  }
}
