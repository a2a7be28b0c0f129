// Streams the service's events and reconnects when the connection is lost.

import { type Client, ResponseError, type Schemas, unwrapResponse } from '../../src/client/client.ts';
import { isIdleTimeout, readEvents } from '../../src/client/read-events.ts';
import { delay } from '../../src/protocol/back-off.ts';
import { backOffDelay } from './back-off.ts';

export type LiveEvent = Schemas['AuditEvent'];
/** `lost`: reconnecting. `looking`: no stream is available, for example behind a buffering proxy, so pages poll. `resting`: the window is hidden. */
export type Connection = 'connecting' | 'live' | 'lost' | 'looking' | 'resting';
/** A message of the stream. After each `live` or `looking`, the receiver may have missed events. `isRefused`: the key is no longer valid. */
export type StreamMessage = { readonly connection: Connection } | { readonly event: LiveEvent } | { readonly isRefused: true };

/** Delivers each event once and in order until the signal is aborted, also across reconnections. */
export async function streamEvents(client: Client, signal: AbortSignal, send: (message: StreamMessage) => void): Promise<void> {
  let last: number | null = null;
  for (let failures = 0; !signal.aborted; ) {
    try {
      const query: { readonly after?: number } = last === null ? {} : { after: last };
      const open = async (signal: AbortSignal) =>
        unwrapResponse(await client.GET('/v1/events', { params: { query }, parseAs: 'stream', signal }));
      const onOpen = () => {
        failures = 0;
        send({ connection: 'live' });
      };
      for await (const event of readEvents<LiveEvent>(open, { signal, onOpen })) {
        last = event.number;
        send({ event });
      }
    } catch (error) {
      if (signal.aborted) return;
      if (isIdleTimeout(error)) {
        // The next attempt fails after 5 s if the proxy still buffers: pages refresh at that interval until the stream passes.
        send({ connection: 'looking' });
        continue;
      }
      // The last event was pruned, or belongs to another database: the receiver reads everything again.
      if (error instanceof ResponseError && error.status < 500 && error.status !== 408 && error.status !== 429) last = null;
      if (error instanceof ResponseError && error.status === 401) send({ isRefused: true });
    }
    if (signal.aborted) return;
    failures++;
    send({ connection: 'lost' });
    await delay(backOffDelay(failures), signal);
  }
}
