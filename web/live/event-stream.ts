// The stream of the service's events: followed until it is given up, and found again when it is lost.

import { type Client, ResponseError, type Schemas, unwrapResponse } from '../../src/client/client.ts';
import { isIdleTimeout, readEvents } from '../../src/client/read-events.ts';
import { delay } from '../../src/protocol/back-off.ts';
import { backOff } from './waiting.ts';

export type LiveEvent = Schemas['AuditEvent'];
/** `lost`: it is being looked for. `looking`: there is no stream to be had, as where a proxy buffers it, and the service is asked from time to time. `resting`: nobody looks at the window. */
export type Connection = 'connecting' | 'live' | 'lost' | 'looking' | 'resting';
/** What a stream tells. Whoever hears `live` or `looking`, at each time, may have missed events; `isRefused`: the key is not good any more. */
export type News = { readonly connection: Connection } | { readonly event: LiveEvent } | { readonly isRefused: true };

/** Follows the events until the signal is aborted, each once and in order, also over a loss of the stream. */
export async function followEvents(client: Client, signal: AbortSignal, tell: (news: News) => void): Promise<void> {
  let last: number | null = null;
  for (let failures = 0; !signal.aborted; ) {
    try {
      const query: { readonly after?: number } = last === null ? {} : { after: last };
      const open = async (signal: AbortSignal) =>
        unwrapResponse(await client.GET('/v1/events', { params: { query }, parseAs: 'stream', signal }));
      const onOpen = () => {
        failures = 0;
        tell({ connection: 'live' });
      };
      for await (const event of readEvents<LiveEvent>(open, { signal, onOpen })) {
        last = event.number;
        tell({ event });
      }
    } catch (error) {
      if (signal.aborted) return;
      if (isIdleTimeout(error)) {
        // The next attempt takes 5 s where the stream is held back again: the pages are read again that often, and follow the stream when it comes through.
        tell({ connection: 'looking' });
        continue;
      }
      // What came after it has been pruned, or is of another database: whoever looks reads anew.
      if (error instanceof ResponseError && error.status < 500 && error.status !== 408 && error.status !== 429) last = null;
      if (error instanceof ResponseError && error.status === 401) tell({ isRefused: true });
    }
    if (signal.aborted) return;
    failures++;
    tell({ connection: 'lost' });
    await delay(backOff(failures), signal);
  }
}
