// Streams events and rollouts from the service, and reconnects after lost connections and restarts of the service.

import { setTimeout } from 'node:timers/promises';
import { type Client, ResponseError, type Schemas, unwrapResponse } from './client.ts';
import type { EventType } from './enum-values.ts';
import { UnreachableError } from './fetch-with-retries.ts';
import { isIdleTimeout, readEvents } from './read-events.ts';
import { readLines } from './read-lines.ts';

/** Milliseconds between attempts to reconnect; each attempt has its own retries. */
const reconnectDelay = 1_000;
/** Milliseconds without a connection after which streaming fails. */
const giveUpAfter = 5 * 60_000;
/** Milliseconds between polls, if a proxy buffers the stream. */
const pollInterval = 1_000;

/** How events arrive: in a stream, by polling because a proxy buffers the stream, or not at all because the service is unreachable. */
export type Connection = 'streaming' | 'polling' | 'disconnected';

type StreamOptions = {
  readonly signal: AbortSignal;
  /** Whether the service was just reachable: then a failed first connection is retried, too. */
  readonly isExpected?: boolean;
  /** Called after each change; the initial state is `streaming`. */
  readonly onConnection?: (connection: Connection) => void;
};

export type EventStreamOptions = StreamOptions & {
  /** Only events with a greater number. */
  readonly after: number;
  readonly types?: readonly EventType[];
};

/** Returns the number of the newest event; 0 if there is none. */
export async function readNewestEventNumber(client: Client): Promise<number> {
  const { items } = unwrapResponse(await client.GET('/v1/audit', { params: { query: { limit: 1 } } }));
  return items[0]?.number ?? 0;
}

/**
 * Yields events until the signal is aborted.
 * @throws {ResponseError} if the service rejects the request.
 * @throws {UnreachableError} if the service is unreachable at the start, or for 5 minutes.
 */
export async function* streamEvents(
  client: Client,
  { after, types, ...options }: EventStreamOptions,
): AsyncGenerator<Schemas['AuditEvent'], void> {
  let last = after;
  const open = async (signal: AbortSignal) => {
    const query = { after: last, ...(types === undefined ? {} : { types: [...types] }) };
    return unwrapResponse(await client.GET('/v1/events', { params: { query }, parseAs: 'stream', signal }));
  };
  const poll = (signal: AbortSignal) => eventsAfter(client, last, types, signal);
  for await (const event of streamWithReconnects<Schemas['AuditEvent']>(open, poll, options)) {
    last = event.number;
    yield event;
  }
}

/** Returns the current events after a number, in order. */
async function eventsAfter(client: Client, after: number, types: readonly EventType[] | undefined, signal: AbortSignal) {
  const stream = unwrapResponse(await client.GET('/v1/audit/export', { params: { query: { after } }, parseAs: 'stream', signal }));
  return eventsIn(readLines(stream, signal), types);
}

async function* eventsIn(
  lines: AsyncIterable<string>,
  types: readonly EventType[] | undefined,
): AsyncGenerator<Schemas['AuditEvent'], void> {
  for await (const line of lines) {
    const event: Partial<Schemas['AuditEvent']> = JSON.parse(line);
    if (isEvent(event) && (types === undefined || types.some((type) => event.action.startsWith(`${type}.`)))) yield event;
  }
}

/** Returns whether a line of an export is an event: the first line is not, nor is the line of an event that the database cannot read. */
function isEvent(line: Partial<Schemas['AuditEvent']>): line is Schemas['AuditEvent'] {
  return line.number !== undefined && line.action !== undefined;
}

/**
 * Yields the state of a rollout now, after each change, and again after each reconnection. The last state has an `endedAt`.
 * @throws {ResponseError} {UnreachableError} as `streamEvents`.
 */
export async function* streamRollout(client: Client, id: string, options: StreamOptions): AsyncGenerator<Schemas['Rollout'], void> {
  const params = { path: { rollout: id } };
  const open = async (signal: AbortSignal) =>
    unwrapResponse(await client.GET('/v1/rollouts/{rollout}/progress', { params, parseAs: 'stream', signal }));
  const poll = async (signal: AbortSignal) => [unwrapResponse(await client.GET('/v1/rollouts/{rollout}', { params, signal }))];
  for await (const rollout of streamWithReconnects<Schemas['Rollout']>(open, poll, options)) {
    yield rollout;
    if (rollout.endedAt !== null) return;
  }
}

/** Requests what is new, or the current state. */
type Poll<Data> = (signal: AbortSignal) => Promise<AsyncIterable<Data> | Iterable<Data>>;

/**
 * Yields what arrives in a stream, and requests the stream again whenever it ends. If a proxy buffers the stream, polls instead.
 * @param open Requests the stream.
 */
async function* streamWithReconnects<Data>(
  open: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>,
  poll: Poll<Data>,
  { signal, onConnection, isExpected = false }: StreamOptions,
): AsyncGenerator<Data, void> {
  let wasConnected = isExpected;
  let lostAt: number | null = null;
  let connection: Connection = 'streaming';
  const connect = (now: Connection) => {
    if (now !== 'disconnected') [wasConnected, lostAt] = [true, null];
    if (now !== connection) onConnection?.(now);
    connection = now;
  };
  while (!signal.aborted) {
    try {
      yield* readEvents<Data>(open, { signal, onOpen: () => connect('streaming') });
    } catch (error) {
      try {
        if (!isIdleTimeout(error) || signal.aborted) throw error;
        yield* pollUntilLost(poll, signal, () => connect('polling'));
      } catch (error) {
        if (signal.aborted) return;
        if (!wasConnected || !isTransient(error)) throw error;
        if (lostAt !== null && Date.now() - lostAt > giveUpAfter) throw error;
      }
    }
    if (signal.aborted) return;
    lostAt ??= Date.now();
    connect('disconnected');
    await setTimeout(reconnectDelay, undefined, { signal }).catch(() => {});
  }
}

/** Polls until a request fails or the signal is aborted. @param onResponse Called after each response. */
async function* pollUntilLost<Data>(poll: Poll<Data>, signal: AbortSignal, onResponse: () => void): AsyncGenerator<Data, void> {
  while (!signal.aborted) {
    const found = await poll(signal);
    onResponse();
    yield* found;
    await setTimeout(pollInterval, undefined, { signal }).catch(() => {});
  }
}

/** Returns whether a retry may succeed: the service is unreachable or busy, or the connection was lost or aborted. */
function isTransient(error: unknown): boolean {
  if (error instanceof ResponseError) return error.status === 408 || error.status === 429 || error.status >= 500;
  return error instanceof UnreachableError || error instanceof TypeError || (error instanceof Error && error.name === 'AbortError');
}
