// Requests with an Idempotency-Key: the first is carried out, and whoever repeats it gets its answer again.

import { digestOf } from '../compiler/compiler.ts';
import type { AnswerRecord } from '../store/records/answers.ts';
import type { Records } from '../store/records/records.ts';
import type { Context, Requester } from './context.ts';
import { Problem } from './problem.ts';

/** Requests whose answers are on disk once what they do is: a transaction that fails is answered as the service's failure, and may be repeated. */
const kept = new WeakSet<RepeatableRequest>();

/** What is made, as the request that made it is answered. */
export type AnswerOf<Made> = (made: Made) => Answer;

/**
 * Keeps the answer of a repeatable request in the transaction that carries it out: whatever happens to the service after that, who repeats the
 * request gets this answer, and nothing is done twice.
 */
export async function keepAnswer<Made>(records: Records, { repeatable }: Requester, answerOf: AnswerOf<Made>, made: Made): Promise<void> {
  if (repeatable === undefined) return;
  await records.answers.keep(toRecord(repeatable, answerOf(made)));
  kept.add(repeatable);
}

function toRecord({ key, route, body }: RepeatableRequest, answer: Answer): AnswerRecord {
  return { key, route, bodyDigest: digestOf(body), createdAt: new Date(), ...answer };
}

/** How long an answer is kept, in milliseconds. */
const keptFor = 24 * 60 * 60 * 1_000;
/** How often old answers are removed, in milliseconds. */
const removalInterval = 60 * 60 * 1_000;

export type Answer = {
  readonly status: number;
  readonly contentType: string | null;
  readonly location: string | null;
  readonly body: string;
};
export type RepeatableRequest = { readonly key: string; readonly route: string; readonly body: string | Uint8Array };

export class Answers {
  readonly #context: Context;
  readonly #underWay = new Set<string>();
  #removedAt = 0;

  constructor(context: Context) {
    this.#context = context;
  }

  /**
   * Answers what the same request was answered before, or null: then it is to be carried out, and `keep` or `abandon` to be called.
   * @throws {Problem} `invalid-value` when the key was used for another request, `busy` while the first is under way.
   */
  async begin(request: RepeatableRequest): Promise<Answer | null> {
    const { key, route } = request;
    if (this.#underWay.has(key))
      throw new Problem('busy', 'a request with this Idempotency-Key is under way: repeat it when that one is answered');
    this.#underWay.add(key);
    try {
      const known = await this.#context.store.records.answers.find(key);
      if (known === null || known.createdAt.getTime() < Date.now() - keptFor) return null;
      if (known.route !== route || known.bodyDigest !== digestOf(request.body)) {
        throw new Problem('invalid-value', 'this Idempotency-Key was used for another request: take a new key for each request', {
          invalidValues: [{ pointer: 'header:idempotency-key', detail: 'was used for another request' }],
        });
      }
      this.abandon(key);
      return known;
    } catch (error) {
      this.abandon(key);
      throw error;
    }
  }

  /** Keeps the answer of a request that was carried out, or refused, unless it is kept with what it did. */
  async keep(request: RepeatableRequest, answer: Answer): Promise<void> {
    try {
      if (!kept.has(request)) await this.#context.store.transaction((records) => records.answers.keep(toRecord(request, answer)));
    } finally {
      this.abandon(request.key);
    }
    await this.#removeOld();
  }

  /** The request was not carried out: it may be made again under the same key. */
  abandon(key: string): void {
    this.#underWay.delete(key);
  }

  async #removeOld(): Promise<void> {
    if (Date.now() - this.#removedAt < removalInterval) return;
    this.#removedAt = Date.now();
    const moment = new Date(Date.now() - keptFor);
    await this.#context.store.transaction((records) => records.answers.removeOlderThan(moment));
  }
}
