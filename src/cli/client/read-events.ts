// What comes in one stream of server-sent events, read the same on the command line and in a browser.

import { EventSourceParserStream } from 'eventsource-parser/stream';

/** The service says something at least every 15 s; a stream that is silent for so many milliseconds is lost. */
const longestSilence = 45_000;

/** The data of the events of a stream until it ends, is silent for too long, or the signal is aborted; then its connection is closed. */
export async function* readEvents<Data>(stream: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<Data, void> {
  const decoder = new TextDecoder();
  const text = new TransformStream<Uint8Array, string>({
    transform: (chunk, controller) => {
      clearTimeout(silence);
      silence = setTimeout(close, longestSilence);
      controller.enqueue(decoder.decode(chunk, { stream: true }));
    },
  });
  const reader = stream.pipeThrough(text).pipeThrough(new EventSourceParserStream()).getReader();
  // Cancelled here, for a stream does not keep the signal of its request from being collected.
  const close = () => void reader.cancel().catch(() => {});
  let silence = setTimeout(close, longestSilence);
  signal.addEventListener('abort', close, { once: true });
  try {
    while (!signal.aborted) {
      const { done, value } = await reader.read();
      if (done) return;
      const data: Data = JSON.parse(value.data);
      yield data;
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener('abort', close);
    close();
  }
}
