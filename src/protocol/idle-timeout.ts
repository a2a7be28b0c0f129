// Idle timeouts of server-sent event streams, which detect a proxy that buffers the stream or a dead connection.

/** Maximum milliseconds without data: before the first bytes, and between later chunks. */
export type IdleTimeouts = { readonly first: number; readonly later: number };

/** The service sends a comment at the start of a stream, and then at least one every 15 s. */
export const defaultIdleTimeouts: IdleTimeouts = { first: 5_000, later: 45_000 };

/** No data arrived within the idle timeout. */
export class IdleTimeoutError extends Error {
  override readonly name = 'IdleTimeoutError';
}

/** The idle watch of a stream. */
export type IdleWatch = {
  /** Aborted with an `IdleTimeoutError` when nothing arrives within the limits. */
  readonly signal: AbortSignal;
  /** Decodes the stream's UTF-8, and restarts the timeout at each chunk. */
  readonly text: TransformStream<Uint8Array, string>;
  /** Stops watching. */
  readonly end: () => void;
};

/** Starts the idle timeout of a stream. @param onOpen Called when the first bytes arrive. */
export function watchIdle(limits: IdleTimeouts, onOpen?: () => void): IdleWatch {
  const idle = new AbortController();
  const startTimeout = (milliseconds: number) =>
    setTimeout(() => idle.abort(new IdleTimeoutError(`no data arrived for ${milliseconds / 1_000} s`)), milliseconds);
  let timer = startTimeout(limits.first);
  let isOpen = false;
  const decoder = new TextDecoder();
  const text = new TransformStream<Uint8Array, string>({
    transform: (chunk, controller) => {
      clearTimeout(timer);
      timer = startTimeout(limits.later);
      if (!isOpen) onOpen?.();
      isOpen = true;
      controller.enqueue(decoder.decode(chunk, { stream: true }));
    },
  });
  return { signal: idle.signal, text, end: () => clearTimeout(timer) };
}
