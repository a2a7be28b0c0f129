// Requests with an Idempotency-Key: the first is executed, and retries receive the stored response.

import { digestOf } from '../../machine/digest.ts';
import { RetentionTimeRecords } from '../clock/repository.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { Problem } from '../problem.ts';
import type { IdempotentRequest, Requester } from '../requester.ts';
import { seal, unseal } from '../secrets.ts';
import type { IdempotentResponseRecord } from './repository.ts';
import { IdempotentResponseRecords } from './repository.ts';

/** Requests whose responses were committed in the same transaction as their effects. */
const storedRequests = new WeakSet<IdempotentRequest>();

/** Returns the response to a request that created something. */
export type ToResponse<Created> = (created: Created) => StoredResponse;

/** Another replica has executed the same request meanwhile; this replica must not. */
export class AlreadyProcessed extends Error {
  override readonly name = 'AlreadyProcessed';
  readonly response: StoredResponse;

  constructor(response: StoredResponse) {
    super('another replica of the service has already executed the request');
    this.response = response;
  }
}

/**
 * Stores the response to an idempotent request in the transaction that executes the request: whatever happens to the service afterwards, a retry
 * receives this response, and nothing is executed twice.
 * @throws {AlreadyProcessed} {Problem} `invalid-value` if the key was used for another request meanwhile.
 */
export async function storeResponse<Created>(
  connection: Connection,
  requester: Requester,
  toResponse: ToResponse<Created>,
  created: Created,
): Promise<void> {
  const { idempotentRequest } = requester;
  if (idempotentRequest === undefined) return;
  (await createDuplicateCheck(connection, [requester]))(requester);
  await storeResponses(connection, [{ request: idempotentRequest, response: toResponse(created) }]);
}

/**
 * Stores responses as `storeResponse` does, for requests that are known to be new.
 * @param executed The requests with their responses.
 */
export async function storeResponses(
  connection: Connection,
  executed: readonly { readonly request: IdempotentRequest; readonly response: StoredResponse }[],
): Promise<void> {
  if (executed.length === 0) return;
  const now = await new RetentionTimeRecords(connection).now();
  await new IdempotentResponseRecords(connection).store(executed.map(({ request, response }) => toRecord(request, response, now)));
  connection.commitEffects.afterCommit.push(() => {
    for (const { request } of executed) storedRequests.add(request);
  });
}

/**
 * Reads the responses that other replicas have stored for these requests.
 * @returns A function that throws {AlreadyProcessed} if a request was executed, {Problem} `invalid-value` if its key was used for another request.
 */
export async function createDuplicateCheck(
  connection: Connection,
  requesters: readonly Requester[],
): Promise<(requester: Requester) => void> {
  const requests = requesters.flatMap(({ idempotentRequest }) => idempotentRequest ?? []);
  if (requests.length === 0) return () => {};
  const [found, now] = await Promise.all([
    new IdempotentResponseRecords(connection).findMany(requests),
    new RetentionTimeRecords(connection).now(),
  ]);
  const known = new Map(found.map((record) => [mapKeyOf(record), record]));
  return ({ idempotentRequest }) => {
    const response = idempotentRequest === undefined ? null : checkResponse(idempotentRequest, known.get(mapKeyOf(idempotentRequest)), now);
    if (response !== null) throw new AlreadyProcessed(response);
  };
}

/** Returns the stored response to the same request, or null. @throws {Problem} `invalid-value` if the key was used for another request. */
async function findResponse(connection: Connection, request: IdempotentRequest): Promise<StoredResponse | null> {
  const [[known], now] = await Promise.all([
    new IdempotentResponseRecords(connection).findMany([request]),
    new RetentionTimeRecords(connection).now(),
  ]);
  return checkResponse(request, known, now);
}

/** Returns the response stored under the key of a request, or null if it has expired. @throws {Problem} `invalid-value` if the key was used for another request. */
function checkResponse(request: IdempotentRequest, known: IdempotentResponseRecord | undefined, now: Date): StoredResponse | null {
  if (known === undefined || known.createdAt.getTime() < now.getTime() - retentionPeriod) return null;
  if (known.route !== request.route || known.bodyDigest !== digestOf(request.body)) {
    throw new Problem('invalid-value', 'this Idempotency-Key was used for another request: use a new key for each request', {
      invalidValues: [{ pointer: 'header:idempotency-key', detail: 'was used for another request' }],
    });
  }
  return known.isSealed ? { ...known, body: unseal(known.body, request.sealedBy ?? '') } : known;
}

function toRecord(
  { actor, key, route, body, sealedBy }: IdempotentRequest,
  response: StoredResponse,
  createdAt: Date,
): IdempotentResponseRecord {
  const content = sealedBy === null ? response.body : seal(response.body, sealedBy);
  return { actor, key, route, bodyDigest: digestOf(body), createdAt, ...response, body: content, isSealed: sealedBy !== null };
}

/** How long a response is stored, in milliseconds of the retention time: at least half as long by any other clock. */
const retentionPeriod = 24 * 60 * 60 * 1_000;
/** How often expired responses are deleted, in milliseconds. */
const deletionInterval = 60 * 60 * 1_000;
/** Maximum requests that wait for the response to a request with the same key. */
const maxWaiting = 1_000;

export type StoredResponse = {
  readonly status: number;
  readonly contentType: string | null;
  readonly location: string | null;
  readonly body: string;
};

type Dependencies = { readonly store: Store; readonly clock: Clock };

export class IdempotencyStore {
  readonly #dependencies: Dependencies;
  /** The requests in progress, with the callbacks of those that wait for them. */
  readonly #inProgress = new Map<string, (() => void)[]>();
  #waiting = 0;
  /** When expired responses were last deleted, by the monotonic clock. */
  #lastDeletion = Number.NEGATIVE_INFINITY;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Returns the stored response to the same request, or null: then the caller executes the request and calls `store` or `abandon`.
   * While the same request is in progress, waits for its response.
   * @throws {Problem} `invalid-value` if the key was used for another request, `busy` if too many requests wait.
   */
  async begin(request: IdempotentRequest): Promise<StoredResponse | null> {
    const mapKey = mapKeyOf(request);
    while (this.#inProgress.has(mapKey)) {
      await this.#wait(mapKey);
      const known = await findResponse(this.#dependencies.store.readConnection, request);
      if (known !== null) return known;
    }
    this.#inProgress.set(mapKey, []);
    let mustExecute = false;
    try {
      const known = await findResponse(this.#dependencies.store.readConnection, request);
      mustExecute = known === null;
      return known;
    } finally {
      if (!mustExecute) this.abandon(request);
    }
  }

  /**
   * Stores the response to a request that was executed or rejected, unless it was stored in the transaction of the request.
   * @returns The response that another replica has stored for the same request meanwhile (a possible cause of the rejection), or null.
   */
  async store(request: IdempotentRequest, response: StoredResponse): Promise<StoredResponse | null> {
    try {
      if (storedRequests.has(request)) return null;
      return await this.#dependencies.store.transaction(async (connection) => {
        const known = await findResponse(connection, request);
        if (known === null)
          await new IdempotentResponseRecords(connection).store([
            toRecord(request, response, await new RetentionTimeRecords(connection).now()),
          ]);
        return known;
      });
    } finally {
      this.abandon(request);
      await this.#deleteExpired();
    }
  }

  /** Marks a request as no longer in progress; without a stored response it can be retried with the same key. */
  abandon(request: IdempotentRequest): void {
    const waiters = this.#inProgress.get(mapKeyOf(request)) ?? [];
    this.#inProgress.delete(mapKeyOf(request));
    for (const wake of waiters) wake();
  }

  async #wait(mapKey: string): Promise<void> {
    if (this.#waiting >= maxWaiting)
      throw new Problem(
        'busy',
        `too many requests wait for a request with the same Idempotency-Key (limit: ${maxWaiting}): retry after the time in Retry-After`,
      );
    this.#waiting += 1;
    await new Promise<void>((resolve) => this.#inProgress.get(mapKey)?.push(resolve));
    this.#waiting -= 1;
  }

  async #deleteExpired(): Promise<void> {
    const { clock, store } = this.#dependencies;
    if (clock.monotonic() - this.#lastDeletion < deletionInterval) return;
    this.#lastDeletion = clock.monotonic();
    await store.transaction(async (connection) => {
      const now = await new RetentionTimeRecords(connection).now();
      await new IdempotentResponseRecords(connection).deleteOlderThan(new Date(now.getTime() - retentionPeriod));
    });
  }
}

const mapKeyOf = ({ actor, key }: Pick<IdempotentRequest, 'actor' | 'key'>) => `${actor} ${key}`;
