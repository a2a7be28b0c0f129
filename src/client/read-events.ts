// The events in one stream of server-sent events, read the same on the command line and in a browser.

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { defaultIdleTimeouts, IdleTimeoutError, type IdleTimeouts, watchIdle } from '../protocol/idle-timeout.ts';

type ReadOptions = {
  readonly signal: AbortSignal;
  /** Called when the first bytes of the stream arrive. */
  readonly onOpen?: () => void;
  readonly silenceLimits?: IdleTimeouts;
};

/**
 * Yields the data of the events of a stream until it ends or the signal is aborted; then its connection is closed.
 * @param open Requests the stream. Its signal is aborted when the stream is silent for too long.
 * @throws {IdleTimeoutError} If nothing arrives within the limits: by default 5 s from the request, and then 45 s.
 */
export async function* readEvents<Data>(
  open: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>,
  { signal, onOpen, silenceLimits = defaultIdleTimeouts }: ReadOptions,
): AsyncGenerator<Data, void> {
  const silence = watchIdle(silenceLimits, onOpen);
  const ended = AbortSignal.any([signal, silence.signal]);
  let close = () => {};
  try {
    const reader = (await open(ended)).pipeThrough(silence.text).pipeThrough(new EventSourceParserStream()).getReader();
    // Cancelled here, for a stream does not keep the signal of its request from being collected.
    close = () => void reader.cancel().catch(() => {});
    ended.addEventListener('abort', close, { once: true });
    while (!ended.aborted) {
      const { done, value } = await reader.read();
      if (done) break;
      const data: Data = JSON.parse(value.data);
      yield data;
    }
    silence.signal.throwIfAborted();
  } finally {
    silence.end();
    ended.removeEventListener('abort', close);
    close();
  }
}

/** Returns whether `readEvents` ended because its stream fell silent. */
export function isSilentStreamError(error: unknown): boolean {
  return error instanceof IdleTimeoutError;
}
