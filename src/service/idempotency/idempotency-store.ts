// Requests with an Idempotency-Key: the first is carried out, and whoever repeats it gets its answer again.

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

/** Requests whose answers are on disk, together with what they did. */
const kept = new WeakSet<IdempotentRequest>();

/** What is made, as the request that made it is answered. */
export type ToResponse<Made> = (made: Made) => StoredResponse;

/** The same request has been carried out by another replica of the service meanwhile, and here it is not. */
export class AlreadyProcessed extends Error {
  override readonly name = 'AnsweredMeanwhile';
  readonly response: StoredResponse;

  constructor(answer: StoredResponse) {
    super('the request was answered by another replica of the service');
    this.response = answer;
  }
}

/**
 * Keeps the answer of a idempotentRequest request in the transaction that carries it out: whatever happens to the service after that, who repeats the
 * request gets this answer, and nothing is done twice.
 * @throws {AlreadyProcessed} {Problem} `invalid-value` when the key was used for another request meanwhile.
 */
export async function storeResponse<Made>(
  connection: Connection,
  requester: Requester,
  answerOf: ToResponse<Made>,
  made: Made,
): Promise<void> {
  const { idempotentRequest } = requester;
  if (idempotentRequest === undefined) return;
  (await createDuplicateCheck(connection, [requester]))(requester);
  await storeResponses(connection, [{ request: idempotentRequest, answer: answerOf(made) }]);
}

/**
 * Keeps answers as `keepAnswer` does, of requests that were not answered meanwhile.
 * @param made What each request was carried out as.
 */
export async function storeResponses(
  connection: Connection,
  made: readonly { readonly request: IdempotentRequest; readonly answer: StoredResponse }[],
): Promise<void> {
  if (made.length === 0) return;
  const now = await new RetentionTimeRecords(connection).now();
  await new IdempotentResponseRecords(connection).store(made.map(({ request, answer }) => toRecord(request, answer, now)));
  connection.commitEffects.afterCommit.push(() => {
    for (const { request } of made) kept.add(request);
  });
}

/**
 * Reads what other replicas of the service have answered to requests meanwhile.
 * @returns What throws where the request was answered: {AnsweredMeanwhile}, {Problem} `invalid-value` when its key was used for another.
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
  const known = new Map(found.map((record) => [nameOf(record), record]));
  return ({ idempotentRequest }) => {
    const answer = idempotentRequest === undefined ? null : sameAnswer(idempotentRequest, known.get(nameOf(idempotentRequest)), now);
    if (answer !== null) throw new AlreadyProcessed(answer);
  };
}

/** The answer that the same request was given, null where there is none. @throws {Problem} `invalid-value` when the key is another request's. */
async function findAnswer(connection: Connection, request: IdempotentRequest): Promise<StoredResponse | null> {
  const [[known], now] = await Promise.all([
    new IdempotentResponseRecords(connection).findMany([request]),
    new RetentionTimeRecords(connection).now(),
  ]);
  return sameAnswer(request, known, now);
}

/** The answer that was kept under the key of a request, if it is one to that request. @throws {Problem} `invalid-value`. */
function sameAnswer(request: IdempotentRequest, known: IdempotentResponseRecord | undefined, now: Date): StoredResponse | null {
  if (known === undefined || known.createdAt.getTime() < now.getTime() - keptFor) return null;
  if (known.route !== request.route || known.bodyDigest !== digestOf(request.body)) {
    throw new Problem('invalid-value', 'this Idempotency-Key was used for another request: take a new key for each request', {
      invalidValues: [{ pointer: 'header:idempotency-key', detail: 'was used for another request' }],
    });
  }
  return known.isSealed ? { ...known, body: unseal(known.body, request.sealedBy ?? '') } : known;
}

function toRecord(
  { actor, key, route, body, sealedBy }: IdempotentRequest,
  answer: StoredResponse,
  createdAt: Date,
): IdempotentResponseRecord {
  const content = sealedBy === null ? answer.body : seal(answer.body, sealedBy);
  return { actor, key, route, bodyDigest: digestOf(body), createdAt, ...answer, body: content, isSealed: sealedBy !== null };
}

/** How long an answer is kept, in milliseconds of the retention time: half as long at least by any other clock. */
const keptFor = 24 * 60 * 60 * 1_000;
/** How often old answers are removed, in milliseconds. */
const removalInterval = 60 * 60 * 1_000;
/** Requests that wait for the answer of the same request. */
const waiterLimit = 1_000;

export type StoredResponse = {
  readonly status: number;
  readonly contentType: string | null;
  readonly location: string | null;
  readonly body: string;
};

type Uses = { readonly store: Store; readonly clock: Clock };

export class IdempotencyStore {
  readonly #uses: Uses;
  /** What is called when a request is not under way any more, for each that is. */
  readonly #underWay = new Map<string, (() => void)[]>();
  #waiting = 0;
  /** By the monotonic clock. */
  #removedAt = Number.NEGATIVE_INFINITY;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /**
   * Answers what the same request was answered before, or null: then it is to be carried out, and `keep` or `abandon` to be called.
   * While the first is under way, the others wait for its answer.
   * @throws {Problem} `invalid-value` when the key was used for another request, `busy` when too many wait.
   */
  async begin(request: IdempotentRequest): Promise<StoredResponse | null> {
    const name = nameOf(request);
    while (this.#underWay.has(name)) {
      await this.#wait(name);
      const known = await findAnswer(this.#uses.store.readConnection, request);
      if (known !== null) return known;
    }
    this.#underWay.set(name, []);
    let isToBeCarriedOut = false;
    try {
      const known = await findAnswer(this.#uses.store.readConnection, request);
      isToBeCarriedOut = known === null;
      return known;
    } finally {
      if (!isToBeCarriedOut) this.abandon(request);
    }
  }

  /**
   * Keeps the answer of a request that was carried out, or refused, unless it is kept with what it did.
   * Answers what the same request was answered by another replica of the service meanwhile, which may be why it was refused; null where it was not.
   */
  async store(request: IdempotentRequest, answer: StoredResponse): Promise<StoredResponse | null> {
    try {
      if (kept.has(request)) return null;
      return await this.#uses.store.transaction(async (connection) => {
        const known = await findAnswer(connection, request);
        if (known === null)
          await new IdempotentResponseRecords(connection).store([
            toRecord(request, answer, await new RetentionTimeRecords(connection).now()),
          ]);
        return known;
      });
    } finally {
      this.abandon(request);
      await this.#removeOld();
    }
  }

  /** The request is not under way any more; if no answer was kept, it may be made again under the same key. */
  abandon(request: IdempotentRequest): void {
    const waiters = this.#underWay.get(nameOf(request)) ?? [];
    this.#underWay.delete(nameOf(request));
    for (const wake of waiters) wake();
  }

  async #wait(name: string): Promise<void> {
    if (this.#waiting >= waiterLimit)
      throw new Problem('busy', 'a request with this Idempotency-Key is under way: repeat it when that one is answered');
    this.#waiting += 1;
    await new Promise<void>((resolve) => this.#underWay.get(name)?.push(resolve));
    this.#waiting -= 1;
  }

  async #removeOld(): Promise<void> {
    const { clock, store } = this.#uses;
    if (clock.monotonic() - this.#removedAt < removalInterval) return;
    this.#removedAt = clock.monotonic();
    await store.transaction(async (connection) => {
      const now = await new RetentionTimeRecords(connection).now();
      await new IdempotentResponseRecords(connection).deleteOlderThan(new Date(now.getTime() - keptFor));
    });
  }
}

const nameOf = ({ actor, key }: Pick<IdempotentRequest, 'actor' | 'key'>) => `${actor} ${key}`;
