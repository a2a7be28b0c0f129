// The write path (group commit). Every transaction is queued. Once the write lock is acquired, the queued transactions are taken as one group. Each runs in a
// savepoint of its own, or in one batch with consecutive transactions of its kind. The group is committed, and then listeners and callers are notified.
// See docs/explanation/write-path.md.

import { setImmediate as nextEventLoopTurn } from 'node:timers/promises';
import { type ChangeNotification, decodeNotification, encodeNotification } from './change-notification.ts';
import { type CommitEffects, newCommitEffects } from './commit-effects.ts';
import type { Connection } from './connection.ts';
import type { Engine, Transaction } from './engine.ts';
import { findUnavailability, markDatabaseError } from './unavailable.ts';

/** Maximum duration of a group in milliseconds, maximum transactions in a group, and maximum length of the queue. */
export const transactionLimits = { timeout: 60_000, groupSize: 256, queueLength: 20_000 };
/** While the database is unavailable, transactions queued for longer than this fail together with the group that was tried, in milliseconds. */
const maxQueueTimeWhileUnavailable = 10_000;

/** The transaction queue is full. */
export class TooManyTransactions extends Error {
  override readonly name = 'TooManyTransactions';
  /** The HTTP status of the request. */
  readonly statusCode = 503;

  constructor() {
    super(`the transaction queue is full (limit: ${transactionLimits.queueLength} transactions)`);
  }
}

/**
 * Executes a batch of requests in order, and returns a result for each; a rejected request must not have changed anything. If the function itself rejects,
 * the batch is rolled back and each request is executed separately.
 */
export type BatchedChange<Request, Result> = (
  connection: Connection,
  requests: readonly Request[],
) => Promise<readonly PromiseSettledResult<Result>[]>;

/** Executes a batch of transactions of one kind; returns for each that succeeds a function that resolves its promise. */
type RunBatch = (connection: Connection, batch: readonly QueuedTransaction[]) => Promise<readonly PromiseSettledResult<() => void>[]>;

/** A transaction in the queue. */
type QueuedTransaction = {
  /** When it was queued, by the clock of `performance`. */
  readonly queuedAt: number;
  /** The same function for all transactions of a kind. */
  readonly run: RunBatch;
  readonly reject: (error: unknown) => void;
};

/** A transaction that succeeded: its effects, and a function that resolves its promise. */
type CommittedTransaction = { readonly effects: CommitEffects; readonly resolve: () => void };
/** The outcomes of a group, in the order of execution. */
type Outcomes = Map<QueuedTransaction, PromiseSettledResult<CommittedTransaction>>;

/** How a transaction ended, and its duration in milliseconds, including the time in the queue. */
export type TransactionEnd = { readonly milliseconds: number } & (
  | { readonly result: 'rolled-back' }
  | ({ readonly result: 'committed' } & CommitEffects)
);

export class Transactions {
  readonly #engine: Engine;
  readonly #queue: QueuedTransaction[] = [];
  #isWriting = false;
  #endListener: (end: TransactionEnd) => void = () => {};
  #changeListener: (notification: ChangeNotification) => void = () => {};

  constructor(engine: Engine) {
    this.#engine = engine;
    engine.onNotification((text) => this.#changeListener(decodeNotification(text)));
  }

  /** Sets the listener for changes by any replica of the service. It must not throw. */
  onChange(listener: (notification: ChangeNotification) => void): void {
    this.#changeListener = listener;
  }

  /** Sets the listener for the end of each transaction; committed transactions are durable by then. It must not throw. */
  onEnd(listener: (end: TransactionEnd) => void): void {
    this.#endListener = listener;
  }

  /**
   * Step 1: queues transactions of one kind. Consecutive ones are executed by one call, so that common data is read once, and their changes are written by one
   * statement.
   * @returns A function that queues a request. Its promise resolves when the change is durable; if it rejects, nothing was changed.
   */
  batched<Request, Result>(change: BatchedChange<Request, Result>): (request: Request) => Promise<Result> {
    const queued = new WeakMap<QueuedTransaction, { readonly request: Request; readonly resolve: (result: Result) => void }>();
    const run: RunBatch = async (connection, batch) => {
      const entries = batch.flatMap((transaction) => queued.get(transaction) ?? []);
      const requests = entries.map(({ request }) => request);
      return (await change(connection, requests)).map((result, index) =>
        result.status === 'rejected' ? result : { ...result, value: () => entries[index]?.resolve(result.value) },
      );
    };
    return (request) => {
      if (this.#queue.length >= transactionLimits.queueLength) return Promise.reject(new TooManyTransactions());
      const { promise, resolve, reject } = Promise.withResolvers<Result>();
      const transaction: QueuedTransaction = { queuedAt: performance.now(), run, reject };
      queued.set(transaction, { request, resolve });
      this.#queue.push(transaction);
      if (!this.#isWriting) void this.#writeAll();
      return promise;
    };
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#queue.length > 0) {
      // A SQLite transaction does not yield to the event loop: without this, requests that arrived meanwhile would be committed one by one.
      await nextEventLoopTurn();
      await this.#writeGroup();
    }
    this.#isWriting = false;
  }

  async #writeGroup(): Promise<void> {
    const outcomes: Outcomes = new Map();
    let group: readonly QueuedTransaction[] = [];
    let notification: ChangeNotification | null = null;
    try {
      notification = await this.#engine.transaction(async (transaction) => {
        // Step 2. Taken only with the write lock: more transactions are queued while another replica holds it.
        group = this.#takeGroup();
        await runGroup(group, transaction, outcomes);
        return notifyReplicas(outcomes, transaction);
        // Step 4: the engine commits.
      }, transactionLimits.timeout);
    } catch (error) {
      this.#failGroup(group, markDatabaseError(error), outcomes);
    }
    this.#notify(outcomes, notification);
  }

  #takeGroup(): QueuedTransaction[] {
    return this.#queue.splice(0, transactionLimits.groupSize);
  }

  /** Rejects every transaction of a failed group; those that were already rejected keep their own reasons. */
  #failGroup(group: readonly QueuedTransaction[], reason: unknown, outcomes: Outcomes): void {
    const failed = group.length === 0 ? this.#takeGroup() : group;
    const overdue = findUnavailability(reason) === null ? [] : this.#takeOverdue();
    for (const transaction of [...failed, ...overdue])
      if (outcomes.get(transaction)?.status !== 'rejected') outcomes.set(transaction, { status: 'rejected', reason });
  }

  /** Removes the transactions that have been queued for too long: they do not wait for further attempts at an unavailable database. */
  #takeOverdue(): QueuedTransaction[] {
    const oldest = performance.now() - maxQueueTimeWhileUnavailable;
    const count = this.#queue.findIndex(({ queuedAt }) => queuedAt > oldest);
    return this.#queue.splice(0, count === -1 ? this.#queue.length : count);
  }

  /** Step 5: notifies the listeners of the service, then the callers. */
  #notify(outcomes: Outcomes, notification: ChangeNotification | null): void {
    for (const [{ queuedAt }, outcome] of outcomes) {
      const milliseconds = performance.now() - queuedAt;
      if (outcome.status === 'rejected') this.#endListener({ result: 'rolled-back', milliseconds });
      else this.#endListener({ result: 'committed', milliseconds, ...outcome.value.effects });
    }
    for (const { effects } of succeededIn(outcomes)) for (const run of effects.afterCommit) run();
    if (notification !== null) this.#changeListener(notification);
    for (const [{ reject }, outcome] of outcomes) {
      if (outcome.status === 'rejected') reject(outcome.reason);
      else outcome.value.resolve();
    }
  }
}

/** Step 3: executes a group in order, consecutive transactions of one kind in one batch. */
async function runGroup(group: readonly QueuedTransaction[], { savepoint }: Transaction, outcomes: Outcomes): Promise<void> {
  const isOnly = group.length === 1;
  for (const batch of groupConsecutive(group)) await runBatch(batch, (change) => savepoint(change, isOnly), outcomes);
}

/** Executes a batch in one savepoint; if that fails, each transaction in a savepoint of its own. */
async function runBatch(batch: readonly QueuedTransaction[], savepoint: Transaction['savepoint'], outcomes: Outcomes): Promise<void> {
  const [first] = batch;
  if (first === undefined) return;
  let results: Awaited<ReturnType<RunBatch>> = [];
  let effects = newCommitEffects();
  try {
    await savepoint(async (connection) => {
      results = await first.run(connection, batch);
      effects = connection.commitEffects;
    });
  } catch (reason) {
    if (batch.length === 1) outcomes.set(first, { status: 'rejected', reason });
    else for (const transaction of batch) await runBatch([transaction], savepoint, outcomes);
    return;
  }
  for (const [index, transaction] of batch.entries()) {
    const result = results[index] ?? { status: 'rejected', reason: new Error('the batch returned too few results') };
    outcomes.set(transaction, result.status === 'rejected' ? result : { ...result, value: { effects, resolve: result.value } });
    // The effects of a batch are reported once, with its first successful transaction.
    if (result.status === 'fulfilled') effects = newCommitEffects();
  }
}

/** Splits a group into batches of consecutive transactions of one kind. */
function groupConsecutive(group: readonly QueuedTransaction[]): QueuedTransaction[][] {
  const batches: QueuedTransaction[][] = [];
  for (const transaction of group) {
    const last = batches.at(-1);
    if (last?.[0]?.run === transaction.run) last.push(transaction);
    else batches.push([transaction]);
  }
  return batches;
}

const succeededIn = (outcomes: Outcomes) =>
  [...outcomes.values()].flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []));

/** Notifies other replicas of the changes of a group after the commit. @throws {Error} if every transaction of the group failed: there is nothing to commit. */
function notifyReplicas(outcomes: Outcomes, { notify }: Transaction): ChangeNotification {
  const succeeded = succeededIn(outcomes);
  if (succeeded.length === 0) throw new Error('every transaction of the group has failed');
  const notification = summarizeChanges(succeeded.map(({ effects }) => effects));
  const text = encodeNotification(notification);
  if (text !== null) notify(text);
  return notification;
}

function summarizeChanges(effects: readonly CommitEffects[]): ChangeNotification {
  return {
    events: effects.some(({ events }) => events.length > 0),
    loads: effects.some(({ loads }) => loads.length > 0),
    hosts: [...new Set(effects.flatMap(({ hosts }) => [...hosts]))],
    endedStreams: [...new Set(effects.flatMap(({ endedStreams }) => [...endedStreams]))],
  };
}
