// Reads a stream line by line, on the command line and in a browser.

/** Yields each line until the stream ends or the signal is aborted, and closes the connection. @throws if the stream is truncated. */
export async function* readLines(stream: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<string, void> {
  const reader = stream.getReader();
  const close = () => void reader.cancel().catch(() => {});
  signal.addEventListener('abort', close, { once: true });
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const lines = `${rest}${decoder.decode(value, { stream: !done })}`.split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
      if (done) break;
    }
  } finally {
    signal.removeEventListener('abort', close);
    close();
  }
  if (rest !== '') yield rest;
}
