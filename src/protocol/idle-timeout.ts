// Server-sent events that stop arriving: a proxy holds the stream back, or its connection is dead.

/** Milliseconds that a stream may bring nothing: before its first bytes, and between any two pieces after them. */
export type IdleTimeouts = { readonly first: number; readonly later: number };

/** The service sends a comment as soon as a stream begins, and then at least one every 15 s. */
export const defaultIdleTimeouts: IdleTimeouts = { first: 5_000, later: 45_000 };

/** A stream brought nothing for longer than the service is ever silent. */
export class IdleTimeoutError extends Error {
  override readonly name = 'IdleTimeoutError';
}

/** A stream that is watched for silence from now on. */
export type IdleWatch = {
  /** Aborted with an `IdleTimeoutError` when nothing arrives within the limits. */
  readonly signal: AbortSignal;
  /** Decodes the stream's UTF-8, and notes that something arrived. */
  readonly text: TransformStream<Uint8Array, string>;
  /** Stops watching. */
  readonly end: () => void;
};

/** @param onOpen Called when the first bytes arrive. */
export function watchIdle(limits: IdleTimeouts, onOpen?: () => void): IdleWatch {
  const silence = new AbortController();
  const endAfter = (milliseconds: number) =>
    setTimeout(() => silence.abort(new IdleTimeoutError(`no data arrived for ${milliseconds / 1_000} s`)), milliseconds);
  let timer = endAfter(limits.first);
  let isOpen = false;
  const decoder = new TextDecoder();
  const text = new TransformStream<Uint8Array, string>({
    transform: (chunk, controller) => {
      clearTimeout(timer);
      timer = endAfter(limits.later);
      if (!isOpen) onOpen?.();
      isOpen = true;
      controller.enqueue(decoder.decode(chunk, { stream: true }));
    },
  });
  return { signal: silence.signal, text, end: () => clearTimeout(timer) };
}
