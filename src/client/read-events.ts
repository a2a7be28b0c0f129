// Reads a stream of server-sent events, on the command line and in a browser.

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { defaultIdleTimeouts, IdleTimeoutError, type IdleTimeouts, watchIdle } from '../protocol/idle-timeout.ts';

type ReadOptions = {
  readonly signal: AbortSignal;
  /** Called when the first bytes of the stream arrive. */
  readonly onOpen?: () => void;
  readonly idleTimeouts?: IdleTimeouts;
};

/**
 * Yields the data of each event until the stream ends or the signal is aborted, and closes the connection.
 * @param open Requests the stream. Its signal is aborted when the stream is silent for too long.
 * @throws {IdleTimeoutError} if nothing arrives within the limits: by default 5 s from the request, and then 45 s.
 */
export async function* readEvents<Data>(
  open: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>,
  { signal, onOpen, idleTimeouts = defaultIdleTimeouts }: ReadOptions,
): AsyncGenerator<Data, void> {
  const idle = watchIdle(idleTimeouts, onOpen);
  const ended = AbortSignal.any([signal, idle.signal]);
  let close = () => {};
  try {
    const reader = (await open(ended)).pipeThrough(idle.text).pipeThrough(new EventSourceParserStream()).getReader();
    // Cancelled here, because a stream does not prevent the garbage collection of the signal of its request.
    close = () => void reader.cancel().catch(() => {});
    ended.addEventListener('abort', close, { once: true });
    while (!ended.aborted) {
      const { done, value } = await reader.read();
      if (done) break;
      const data: Data = JSON.parse(value.data);
      yield data;
    }
    idle.signal.throwIfAborted();
  } finally {
    idle.end();
    ended.removeEventListener('abort', close);
    close();
  }
}

/** Returns whether `readEvents` ended because its stream was silent for too long. */
export function isIdleTimeout(error: unknown): boolean {
  return error instanceof IdleTimeoutError;
}
