// The write path: everything that changes the database goes through here. A change waits in a queue; when the database's write lock is held, the changes that
// wait are taken as one group; each is made in a savepoint of its own, or shares one with changes of its kind; the group is committed; then everybody is
// told. Explained in docs/explanation/write-path.md.

import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { type ChangeNotification, decodeNotification, encodeNotification } from './change-notification.ts';
import { type CommitEffects, newCommitEffects } from './commit-effects.ts';
import type { Connection } from './connection.ts';
import type { Engine, Transaction } from './engine.ts';
import { findUnavailability, markDatabaseError } from './unavailable.ts';

/** How long a group may take, in milliseconds; how many changes it has at most; and how many may wait. */
export const transactionLimits = { timeout: 60_000, groupSize: 256, queueLength: 20_000 };
/** While the database cannot be written to, changes that have waited for longer than this fail together with the group that was tried, in milliseconds. */
const maxQueueTimeWhileUnavailable = 10_000;

/** As many changes wait as may. */
export class TooManyTransactions extends Error {
  override readonly name = 'TooManyTransactions';
  /** How a request that asked for one is answered. */
  readonly statusCode = 503;

  constructor() {
    super(`${transactionLimits.queueLength} transactions wait for the database, as many as may`);
  }
}

/**
 * Makes the changes that several requests ask for, in their order, and answers each by itself: what is refused has changed nothing. Where it rejects,
 * nothing of all that is kept, and each request is made alone.
 */
export type BatchedChange<Request, Result> = (
  connection: Connection,
  requests: readonly Request[],
) => Promise<readonly PromiseSettledResult<Result>[]>;

/** Makes changes of one kind; for each that succeeds, answers what resolves its promise. */
type RunBatch = (connection: Connection, changes: readonly QueuedTransaction[]) => Promise<readonly PromiseSettledResult<() => void>[]>;

/** A change that waits. */
type QueuedTransaction = {
  /** When it was asked for, by the clock of `performance`. */
  readonly queuedAt: number;
  /** The same object for all changes of its kind. */
  readonly work: RunBatch;
  readonly reject: (error: unknown) => void;
};

/** A change that was made: what others are told of it, and what resolves its promise. */
type CommittedTransaction = { readonly effects: CommitEffects; readonly resolve: () => void };
/** In the order in which they were made. */
type Outcomes = Map<QueuedTransaction, PromiseSettledResult<CommittedTransaction>>;

/** How a transaction ended, and how long it took from when it was asked for, the waiting included, in milliseconds. */
export type TransactionEnd = { readonly milliseconds: number } & (
  | { readonly result: 'rolled-back' }
  | ({ readonly result: 'committed' } & CommitEffects)
);

export class Transactions {
  readonly #engine: Engine;
  readonly #queue: QueuedTransaction[] = [];
  #isWriting = false;
  #endListener: (end: TransactionEnd) => void = () => {};
  #newsListener: (news: ChangeNotification) => void = () => {};

  constructor(engine: Engine) {
    this.#engine = engine;
    engine.onNotification((text) => this.#newsListener(decodeNotification(text)));
  }

  /** Sets the listener for news, whichever replica of the service has written it. It must not throw. */
  onChange(listener: (news: ChangeNotification) => void): void {
    this.#newsListener = listener;
  }

  /** Sets the listener for the end of each transaction: what is committed is on disk by then. It must not throw. */
  onEnd(listener: (end: TransactionEnd) => void): void {
    this.#endListener = listener;
  }

  /**
   * Step 1: queues changes of one kind. Those that wait beside each other are made by one call, so that what all of them need is read once, and what they change is
   * written by one statement.
   * @returns What queues a request. Its promise resolves when the change is on disk; when it rejects, nothing was changed.
   */
  batched<Request, Result>(change: BatchedChange<Request, Result>): (request: Request) => Promise<Result> {
    const asked = new WeakMap<QueuedTransaction, { readonly request: Request; readonly resolve: (result: Result) => void }>();
    const work: RunBatch = async (connection, waiting) => {
      const all = waiting.flatMap((one) => asked.get(one) ?? []);
      const requests = all.map(({ request }) => request);
      return (await change(connection, requests)).map((result, index) =>
        result.status === 'rejected' ? result : { ...result, value: () => all[index]?.resolve(result.value) },
      );
    };
    return (request) => {
      if (this.#queue.length >= transactionLimits.queueLength) return Promise.reject(new TooManyTransactions());
      const { promise, resolve, reject } = Promise.withResolvers<Result>();
      const waiting: QueuedTransaction = { queuedAt: performance.now(), work, reject };
      asked.set(waiting, { request, resolve });
      this.#queue.push(waiting);
      if (!this.#isWriting) void this.#writeAll();
      return promise;
    };
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#queue.length > 0) {
      // A transaction takes no turn of the event loop: requests that have arrived meanwhile were not read yet, and would be written one by one.
      await turnOfTheEventLoop();
      await this.#writeGroup();
    }
    this.#isWriting = false;
  }

  async #writeGroup(): Promise<void> {
    const outcomes: Outcomes = new Map();
    let group: readonly QueuedTransaction[] = [];
    let news: ChangeNotification | null = null;
    try {
      news = await this.#engine.transaction(async (transaction) => {
        // Step 2. Not before: while other replicas had the write lock, more have come.
        group = this.#takeGroup();
        await runGroup(group, transaction, outcomes);
        return notifyReplicas(outcomes, transaction);
        // Step 4 follows: the engine commits.
      }, transactionLimits.timeout);
    } catch (error) {
      this.#failGroup(group, markDatabaseError(error), outcomes);
    }
    this.#notify(outcomes, news);
  }

  #takeGroup(): QueuedTransaction[] {
    return this.#queue.splice(0, transactionLimits.groupSize);
  }

  /** The transaction of a group has failed, and so has each change in it; those that were refused by themselves keep their own reasons. */
  #failGroup(group: readonly QueuedTransaction[], reason: unknown, outcomes: Outcomes): void {
    const failed = group.length === 0 ? this.#takeGroup() : group;
    const overdue = findUnavailability(reason) === null ? [] : this.#takeOverdue();
    for (const one of [...failed, ...overdue])
      if (outcomes.get(one)?.status !== 'rejected') outcomes.set(one, { status: 'rejected', reason });
  }

  /** So that nobody waits for one attempt after another at a database that does not come back. */
  #takeOverdue(): QueuedTransaction[] {
    const moment = performance.now() - maxQueueTimeWhileUnavailable;
    const count = this.#queue.findIndex(({ queuedAt: asked }) => asked > moment);
    return this.#queue.splice(0, count === -1 ? this.#queue.length : count);
  }

  /** Step 5: first the service itself is told what has changed, then each who has asked for a change. */
  #notify(outcomes: Outcomes, news: ChangeNotification | null): void {
    for (const [{ queuedAt: asked }, outcome] of outcomes) {
      const milliseconds = performance.now() - asked;
      if (outcome.status === 'rejected') this.#endListener({ result: 'rolled-back', milliseconds });
      else this.#endListener({ result: 'committed', milliseconds, ...outcome.value.effects });
    }
    for (const { effects: committed } of succeededIn(outcomes)) for (const run of committed.afterCommit) run();
    if (news !== null) this.#newsListener(news);
    for (const [{ reject }, outcome] of outcomes) {
      if (outcome.status === 'rejected') reject(outcome.reason);
      else outcome.value.resolve();
    }
  }
}

/** Step 3: makes the changes of a group in their order; those of one kind that are beside each other together. */
async function runGroup(group: readonly QueuedTransaction[], { savepoint: part }: Transaction, outcomes: Outcomes): Promise<void> {
  const isAll = group.length === 1;
  for (const changes of groupConsecutive(group)) await runBatch(changes, (carryOut) => part(carryOut, isAll), outcomes);
}

/** Makes changes of one kind in one part of the transaction; where that fails, each in a part of its own. */
async function runBatch(changes: readonly QueuedTransaction[], part: Transaction['savepoint'], outcomes: Outcomes): Promise<void> {
  const [first] = changes;
  if (first === undefined) return;
  let results: Awaited<ReturnType<RunBatch>> = [];
  let committed = newCommitEffects();
  try {
    await part(async (connection) => {
      results = await first.work(connection, changes);
      committed = connection.commitEffects;
    });
  } catch (reason) {
    if (changes.length === 1) outcomes.set(first, { status: 'rejected', reason });
    else for (const one of changes) await runBatch([one], part, outcomes);
    return;
  }
  for (const [index, one] of changes.entries()) {
    const result = results[index] ?? { status: 'rejected', reason: new Error('the change has no result') };
    outcomes.set(one, result.status === 'rejected' ? result : { ...result, value: { effects: committed, resolve: result.value } });
    // What they have changed together is told of once.
    if (result.status === 'fulfilled') committed = newCommitEffects();
  }
}

function groupConsecutive(group: readonly QueuedTransaction[]): QueuedTransaction[][] {
  const runs: QueuedTransaction[][] = [];
  for (const one of group) {
    const last = runs.at(-1);
    if (last?.[0]?.work === one.work) last.push(one);
    else runs.push([one]);
  }
  return runs;
}

const succeededIn = (outcomes: Outcomes) =>
  [...outcomes.values()].flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []));

/** Has other replicas told what a group has changed, once it is on disk. @throws {Error} where every change of the group has failed: there is nothing to commit. */
function notifyReplicas(outcomes: Outcomes, { notify: announce }: Transaction): ChangeNotification {
  const made = succeededIn(outcomes);
  if (made.length === 0) throw new Error('every transaction of the group has failed');
  const news = summarizeChanges(made.map(({ effects: committed }) => committed));
  const text = encodeNotification(news);
  if (text !== null) announce(text);
  return news;
}

function summarizeChanges(committed: readonly CommitEffects[]): ChangeNotification {
  return {
    events: committed.some(({ events }) => events.length > 0),
    loads: committed.some(({ loads }) => loads.length > 0),
    hosts: [...new Set(committed.flatMap(({ hosts }) => [...hosts]))],
    endedStreams: [...new Set(committed.flatMap(({ endedStreams }) => [...endedStreams]))],
  };
}
