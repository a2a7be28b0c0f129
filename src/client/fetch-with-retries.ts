// Requests that are repeated where that may help: on a lost connection, and where the service says that it is busy.

import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { backOffMilliseconds } from '../protocol/back-off.ts';
import { parseRetryAfter } from '../protocol/retry-after.ts';

/** Times that a request is made in all. */
const attempts = 5;
/** Milliseconds before a repetition that the service does not time. */
const backOff = { initial: 250, max: 2_000 };
/** Milliseconds that the service may ask to wait for. */
const maxRetryAfter = 30_000;
/** Too many requests, a service that is busy, or a request that did not arrive in time (408). */
const retriedStatuses = new Set([408, 429, 503]);

/** Nothing that answers is at the address. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
  readonly url: string;

  constructor(url: string, cause: unknown) {
    super(describeCause(cause), { cause });
    this.url = url;
  }
}

/**
 * Makes a request up to five times, unless it is stopped. A POST has one Idempotency-Key for all of them, so that it is done once.
 * @throws {UnreachableError} when none was answered.
 */
export async function fetchWithRetries(made: Request, stopped: AbortSignal): Promise<Response> {
  const signal = AbortSignal.any([made.signal, stopped]);
  const request = new Request(made);
  if (request.method === 'POST' && !request.headers.has('idempotency-key')) request.headers.set('idempotency-key', randomUUID());
  for (let attempt = 1; ; attempt++) {
    const isLast = attempt === attempts;
    const defaultWait = backOffMilliseconds(attempt, backOff);
    let wait: number;
    try {
      // The signal is given again, for a request does not keep the one that it was made with from being collected.
      const response = await fetch(isLast ? request : request.clone(), { signal });
      if (isLast || !retriedStatuses.has(response.status)) return response;
      wait = Math.min(parseRetryAfter(response.headers) ?? defaultWait, maxRetryAfter);
      await response.body?.cancel();
    } catch (error) {
      if (signal.aborted) throw error;
      if (isLast) throw new UnreachableError(new URL(request.url).origin, error);
      wait = defaultWait;
    }
    await setTimeout(wait, undefined, { signal });
  }
}

/** What the operating system said, which fetch keeps in the cause of its error. */
function describeCause(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message;
}
