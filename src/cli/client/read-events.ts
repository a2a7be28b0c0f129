// The events in one stream of server-sent events, read the same on the command line and in a browser.

import { EventSourceParserStream } from 'eventsource-parser/stream';

/** Milliseconds that a stream may bring nothing before it counts as held back by a proxy, or as lost. */
type SilenceLimits = { readonly first: number; readonly later: number };
/** The service sends a comment as soon as a stream begins, and then at least one every 15 s. */
const defaultSilenceLimits: SilenceLimits = { first: 5_000, later: 45_000 };

/** A stream brought nothing for longer than the service is ever silent: a proxy holds it back, or the connection is dead. */
export class SilentStreamError extends Error {
  override readonly name = 'SilentStreamError';
}

type Reading = {
  readonly signal: AbortSignal;
  /** Called when the first bytes of the stream arrive. */
  readonly onOpen?: () => void;
  readonly silenceLimits?: SilenceLimits;
};

/**
 * Yields the data of the events of a stream until it ends or the signal is aborted; then its connection is closed.
 * @param open Requests the stream. Its signal is aborted when the stream is silent for too long.
 * @throws {SilentStreamError} If nothing arrives within the limits: by default 5 s from the request, and then 45 s.
 */
export async function* readEvents<Data>(
  open: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>,
  { signal, onOpen, silenceLimits = defaultSilenceLimits }: Reading,
): AsyncGenerator<Data, void> {
  const silence = new AbortController();
  const endAfter = (milliseconds: number) =>
    setTimeout(() => silence.abort(new SilentStreamError(`no data arrived for ${milliseconds / 1_000} s`)), milliseconds);
  let timer = endAfter(silenceLimits.first);
  let isOpen = false;
  const decoder = new TextDecoder();
  const text = new TransformStream<Uint8Array, string>({
    transform: (chunk, controller) => {
      clearTimeout(timer);
      timer = endAfter(silenceLimits.later);
      if (!isOpen) onOpen?.();
      isOpen = true;
      controller.enqueue(decoder.decode(chunk, { stream: true }));
    },
  });
  const ended = AbortSignal.any([signal, silence.signal]);
  let close = () => {};
  try {
    const reader = (await open(ended)).pipeThrough(text).pipeThrough(new EventSourceParserStream()).getReader();
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
    clearTimeout(timer);
    ended.removeEventListener('abort', close);
    close();
  }
}
