// What the service says as it happens, one event after another, whatever becomes of connections and of the service meanwhile.

import { setTimeout } from 'node:timers/promises';
import type { EventType } from './choices.ts';
import { AnswerError, answerOf, type Client, type Schemas } from './client.ts';
import { readEvents } from './read-events.ts';
import { UnreachableError } from './repeating-fetch.ts';

/** Milliseconds between attempts to reach the service again; each attempt waits longer by itself. */
const pause = 1_000;
/** Milliseconds without the service after which it is given up. */
const patience = 5 * 60_000;

type Following = {
  readonly signal: AbortSignal;
  /** Whether the service was there a moment ago: then it is waited for from the start, as it is when the stream is lost. */
  readonly wasThere?: boolean;
  /** Called when the stream is lost, and when it is there again. */
  readonly onConnection?: (isThere: boolean) => void;
};

export type FollowingEvents = Following & {
  /** Only events with a greater number. */
  readonly after: number;
  readonly types?: readonly EventType[];
};

/** The number of the newest event; 0 where there is none. */
export async function newestEvent(client: Client): Promise<number> {
  const { items } = answerOf(await client.GET('/v1/audit', { params: { query: { limit: 1 } } }));
  return items[0]?.number ?? 0;
}

/**
 * Follows the events until the signal is aborted.
 * @throws {AnswerError} where the service does not allow it. @throws {UnreachableError} where it is not there at the start, or not for 5 minutes.
 */
export async function* followEvents(
  client: Client,
  { after, types, ...following }: FollowingEvents,
): AsyncGenerator<Schemas['AuditEvent'], void> {
  let last = after;
  const ask = async (signal: AbortSignal) => {
    const query = { after: last, ...(types === undefined ? {} : { types: [...types] }) };
    return answerOf(await client.GET('/v1/events', { params: { query }, parseAs: 'stream', signal }));
  };
  for await (const event of followStream<Schemas['AuditEvent']>(ask, following)) {
    last = event.number;
    yield event;
  }
}

/**
 * Follows a rollout: how it stands, at once and after every change; when the stream was lost, once more. The last has an `endedAt`.
 * @throws {AnswerError} {UnreachableError} as `followEvents`.
 */
export async function* followRollout(client: Client, id: string, following: Following): AsyncGenerator<Schemas['Rollout'], void> {
  const params = { path: { rollout: id } };
  const ask = async (signal: AbortSignal) =>
    answerOf(await client.GET('/v1/rollouts/{rollout}/progress', { params, parseAs: 'stream', signal }));
  for await (const rollout of followStream<Schemas['Rollout']>(ask, following)) {
    yield rollout;
    if (rollout.endedAt !== null) return;
  }
}

/** What comes in a stream, which is asked for again whenever it ends or is lost. */
async function* followStream<Data>(
  ask: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>,
  { signal, onConnection, wasThere: isExpected = false }: Following,
): AsyncGenerator<Data, void> {
  let wasThere = isExpected;
  let lostAt: number | null = null;
  while (!signal.aborted) {
    try {
      const stream = await ask(signal);
      if (lostAt !== null) onConnection?.(true);
      lostAt = null;
      wasThere = true;
      yield* readEvents<Data>(stream, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!wasThere || !mayPass(error)) throw error;
      if (lostAt !== null && Date.now() - lostAt > patience) throw error;
    }
    if (signal.aborted) return;
    if (lostAt === null) {
      lostAt = Date.now();
      onConnection?.(false);
    }
    await setTimeout(pause, undefined, { signal }).catch(() => {});
  }
}

/** Whether it may be otherwise a moment later: the service is away or busy, or the connection broke off in the middle, or was given up here. */
function mayPass(error: unknown): boolean {
  if (error instanceof AnswerError) return error.status === 429 || error.status >= 500;
  return error instanceof UnreachableError || error instanceof TypeError || (error instanceof Error && error.name === 'AbortError');
}
