// Retries requests after transient errors: a lost connection, or a busy service.

import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { backOffMilliseconds } from '../protocol/back-off.ts';
import { parseRetryAfter } from '../protocol/retry-after.ts';

/** Maximum number of attempts. */
const attempts = 5;
/** Milliseconds before a retry, if the service does not send Retry-After. */
const backOff = { initial: 250, max: 2_000 };
/** Maximum wait in milliseconds that the service can request. */
const maxRetryAfter = 30_000;
/** Request timeout (408), too many requests, and a busy service. */
const retriedStatuses = new Set([408, 429, 503]);

/** No attempt reached the service. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
  readonly url: string;

  constructor(url: string, cause: unknown) {
    super(describeCause(cause), { cause });
    this.url = url;
  }
}

/**
 * Sends a request up to five times. All attempts of a POST have the same Idempotency-Key, so that it takes effect once.
 * @throws {UnreachableError} if no attempt got a response.
 */
export async function fetchWithRetries(original: Request, shutdown: AbortSignal): Promise<Response> {
  const signal = AbortSignal.any([original.signal, shutdown]);
  const request = new Request(original);
  if (request.method === 'POST' && !request.headers.has('idempotency-key')) request.headers.set('idempotency-key', randomUUID());
  for (let attempt = 1; ; attempt++) {
    const isLast = attempt === attempts;
    const defaultWait = backOffMilliseconds(attempt, backOff);
    let wait: number;
    try {
      // Passed again, because a request does not prevent the garbage collection of its own signal.
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

/** Returns the error code of the operating system, which fetch stores in the cause of its error. */
function describeCause(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message;
}
