// What the service says as it happens, one event after another, whatever becomes of connections and of the service meanwhile.

import { setTimeout } from 'node:timers/promises';
import { type Client, ResponseError, type Schemas, unwrapResponse } from './client.ts';
import type { EventType } from './enum-values.ts';
import { UnreachableError } from './fetch-with-retries.ts';
import { isIdleTimeout, readEvents } from './read-events.ts';
import { readLines } from './read-lines.ts';

/** Milliseconds between attempts to reach the service again; each attempt waits longer by itself. */
const reconnectDelay = 1_000;
/** Milliseconds without the service after which it is given up. */
const giveUpAfter = 5 * 60_000;
/** Milliseconds between two requests for what is new, where a stream does not come through. */
const pollInterval = 1_000;

/** How the events arrive: in a stream, by polling because a proxy holds the stream back, or not at all, because the service is away. */
export type Connection = 'streaming' | 'polling' | 'away';

type StreamOptions = {
  readonly signal: AbortSignal;
  /** Whether the service was there a moment ago: then it is waited for from the start, as it is when the stream is lost. */
  readonly isExpected?: boolean;
  /** Called when this changes; until it does, the events arrive in a stream. */
  readonly onConnection?: (connection: Connection) => void;
};

export type EventStreamOptions = StreamOptions & {
  /** Only events with a greater number. */
  readonly after: number;
  readonly types?: readonly EventType[];
};

/** The number of the newest event; 0 where there is none. */
export async function readNewestEventNumber(client: Client): Promise<number> {
  const { items } = unwrapResponse(await client.GET('/v1/audit', { params: { query: { limit: 1 } } }));
  return items[0]?.number ?? 0;
}

/**
 * Follows the events until the signal is aborted.
 * @throws {ResponseError} where the service does not allow it. @throws {UnreachableError} where it is not there at the start, or not for 5 minutes.
 */
export async function* streamEvents(
  client: Client,
  { after, types, ...following }: EventStreamOptions,
): AsyncGenerator<Schemas['AuditEvent'], void> {
  let last = after;
  const open = async (signal: AbortSignal) => {
    const query = { after: last, ...(types === undefined ? {} : { types: [...types] }) };
    return unwrapResponse(await client.GET('/v1/events', { params: { query }, parseAs: 'stream', signal }));
  };
  const poll = (signal: AbortSignal) => eventsAfter(client, last, types, signal);
  for await (const event of streamWithReconnects<Schemas['AuditEvent']>(open, poll, following)) {
    last = event.number;
    yield event;
  }
}

/** Returns the events that there are now, in order. */
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

/** The first line of an export is none, and neither is one about an event that the database cannot read any more. */
function isEvent(line: Partial<Schemas['AuditEvent']>): line is Schemas['AuditEvent'] {
  return line.number !== undefined && line.action !== undefined;
}

/**
 * Follows a rollout: how it stands, at once and after every change; when the stream was lost, once more. The last has an `endedAt`.
 * @throws {ResponseError} {UnreachableError} as `followEvents`.
 */
export async function* streamRollout(client: Client, id: string, following: StreamOptions): AsyncGenerator<Schemas['Rollout'], void> {
  const params = { path: { rollout: id } };
  const open = async (signal: AbortSignal) =>
    unwrapResponse(await client.GET('/v1/rollouts/{rollout}/progress', { params, parseAs: 'stream', signal }));
  const poll = async (signal: AbortSignal) => [unwrapResponse(await client.GET('/v1/rollouts/{rollout}', { params, signal }))];
  for await (const rollout of streamWithReconnects<Schemas['Rollout']>(open, poll, following)) {
    yield rollout;
    if (rollout.endedAt !== null) return;
  }
}

/** Requests what is new, or how things stand. */
type Poll<Data> = (signal: AbortSignal) => Promise<AsyncIterable<Data> | Iterable<Data>>;

/**
 * Yields what arrives in a stream, which is requested again whenever it ends or is lost. Where the stream is held back on its way, what is new is polled.
 * @param open Requests the stream.  */
async function* streamWithReconnects<Data>(
  open: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>,
  poll: Poll<Data>,
  { signal, onConnection, isExpected = false }: StreamOptions,
): AsyncGenerator<Data, void> {
  let wasThere = isExpected;
  let lostAt: number | null = null;
  let connection: Connection = 'streaming';
  const connect = (now: Connection) => {
    if (now !== 'away') [wasThere, lostAt] = [true, null];
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
        if (!wasThere || !isTransient(error)) throw error;
        if (lostAt !== null && Date.now() - lostAt > giveUpAfter) throw error;
      }
    }
    if (signal.aborted) return;
    lostAt ??= Date.now();
    connect('away');
    await setTimeout(reconnectDelay, undefined, { signal }).catch(() => {});
  }
}

/** Polls until a request fails or the signal is aborted. @param onAnswer Called after each request that was answered. */
async function* pollUntilLost<Data>(poll: Poll<Data>, signal: AbortSignal, onAnswer: () => void): AsyncGenerator<Data, void> {
  while (!signal.aborted) {
    const found = await poll(signal);
    onAnswer();
    yield* found;
    await setTimeout(pollInterval, undefined, { signal }).catch(() => {});
  }
}

/** Whether it may be otherwise a moment later: the service is away or busy, or the connection broke off in the middle, or was given up here. */
function isTransient(error: unknown): boolean {
  if (error instanceof ResponseError) return error.status === 408 || error.status === 429 || error.status >= 500;
  return error instanceof UnreachableError || error instanceof TypeError || (error instanceof Error && error.name === 'AbortError');
}
