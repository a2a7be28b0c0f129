// Lines of a stream as they come, read the same on the command line and in a browser.

/** The lines of a stream until it ends or the signal is aborted; then its connection is closed. Fails where it is cut short. */
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
