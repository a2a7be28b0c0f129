// The database behind what the service needs of it: records to read, and transactions in which they change together.

import { existsSync } from 'node:fs';
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { type Committed, newCommitted } from './committed.ts';
import type { Engine, Transaction } from './engine.ts';
import { type BeforeCreation, type Migration, migrationFaults } from './migrations.ts';
import { announcementOf, type News, newsOf } from './news.ts';
import { isUndecodable, type OnUnreadable } from './readable-rows.ts';
import { Records } from './records.ts';
import type { Repetition } from './repetition.ts';
import { SqliteEngine } from './sqlite/engine.ts';
import { DatabaseLock } from './sqlite/lock.ts';
import { checkNothingLost, type OnLostTransactions } from './sqlite/log-marker.ts';
import { applyMigrations, sqliteMigrations } from './sqlite/migrations.ts';
import { createPrivateFile } from './sqlite/private-file.ts';
import { asDatabaseError, atDatabase, unavailabilityOf } from './unavailable.ts';
import type { RowPlace } from './unreadable.ts';

/** How long those that are carried out together may wait for the database, and last, in milliseconds; how many they are, and how many may wait. */
export const transactionLimits = { maxWait: 30_000, timeout: 60_000, group: 256, waiting: 20_000 };
/** Where the database cannot be written to, those that have waited for longer than this fail with those that were to be carried out, in milliseconds. */
const patience = 10_000;

/** As many transactions wait as may. */
export class TooManyTransactions extends Error {
  override readonly name = 'TooManyTransactions';
  /** As what asks for it over HTTP is answered. */
  readonly statusCode = 503;

  constructor() {
    super(`${transactionLimits.waiting} transactions wait for the database, as many as may`);
  }
}

/**
 * Carries out what several have asked for, of whom each is answered by itself, in their order: what is refused has changed nothing. Where it
 * rejects nothing of all that is kept, and each is carried out alone.
 */
type CarryOut<Request, Result> = (records: Records, requests: readonly Request[]) => Promise<readonly PromiseSettledResult<Result>[]>;

/** Carries out those that wait for the same; answers for each what tells it that its changes are on disk. */
type Work = (records: Records, waiting: readonly Waiting[]) => Promise<readonly PromiseSettledResult<() => void>[]>;

/** A transaction that waits for its turn. */
type Waiting = {
  /** When it was asked for, by the clock of `performance`. */
  readonly asked: number;
  /** The same of those that are carried out by it together. */
  readonly work: Work;
  readonly fail: (error: unknown) => void;
};

/** A transaction that was carried out: what others are told of it, and what tells whoever has asked for it. */
type CarriedOut = { readonly committed: Committed; readonly succeed: () => void };
/** In the order in which they were carried out. */
type Outcomes = Map<Waiting, PromiseSettledResult<CarriedOut>>;

/** How a transaction ended, and how long it took from when it was asked for, the waiting for others included, in milliseconds. */
export type TransactionEnd = { readonly milliseconds: number } & (
  | { readonly result: 'rolled-back' }
  | ({ readonly result: 'committed' } & Committed)
);

const nothingCommitted: Committed = newCommitted();

/** Whether a database is named by where PostgreSQL is, and not by a file. */
export const isPostgresql = (database: string) => /^postgres(ql)?:\/\//.test(database);

export type StoreOptions = {
  readonly beforeCreation?: BeforeCreation;
  /** Whether no other service may have a SQLite file open, and its files are watched. */
  readonly isExclusive?: boolean;
  /** Called where a SQLite file lost transactions while no service had it open; the store opens without them. By default it does not open. */
  readonly onLostTransactions?: OnLostTransactions;
};

export class Store {
  /** Reads outside a transaction, of what is committed; a write is refused. */
  readonly records: Records;
  readonly #engine: Engine;
  readonly #migrations: readonly Migration[];
  readonly #waiting: Waiting[] = [];
  #isWriting = false;
  #listener: (end: TransactionEnd) => void = () => {};
  #newsListener: (news: News) => void = () => {};
  #unreadableListener: OnUnreadable = () => {};

  private constructor(engine: Engine, migrations: readonly Migration[]) {
    this.#engine = engine;
    this.#migrations = migrations;
    this.records = new Records(engine.reading.client, engine.reading.statements, (row) => this.#unreadableListener(row));
    engine.onAnnouncement((text) => this.#newsListener(newsOf(text)));
  }

  /**
   * Opens a database, made and brought to the newest migration if need be.
   * @param database A SQLite file; or the address of a database of PostgreSQL, `postgresql://…`, which other replicas of the service may have open too.
   * @throws {MigrationError} when it is of another version. {DatabaseInUse} where a SQLite file is to be for this store only, and is another's.
   * {TransactionsLost} where such a file lost transactions that were acknowledged.
   */
  static open(database: string, options: StoreOptions = {}): Promise<Store> {
    return atDatabase(() => Store.#open(database, options));
  }

  static async #open(database: string, { beforeCreation = () => {}, isExclusive = false, ...options }: StoreOptions): Promise<Store> {
    if (isPostgresql(database)) {
      // Here, for a service on a file starts without all that this takes.
      const { PostgresqlEngine } = await import('./postgresql/engine.ts');
      const { refusePooler } = await import('./postgresql/pooler.ts');
      const { applyMigrations, postgresqlMigrations } = await import('./postgresql/migrations.ts');
      await refusePooler(database);
      const migrations = postgresqlMigrations();
      await applyMigrations(database, migrations, beforeCreation);
      return new Store(await PostgresqlEngine.open(database), migrations);
    }
    const migrations = sqliteMigrations();
    if (!isExclusive) {
      applyMigrations(database, migrations, beforeCreation);
      return new Store(await SqliteEngine.open(database), migrations);
    }
    if (!existsSync(database)) beforeCreation();
    createPrivateFile(database);
    const lock = DatabaseLock.take(database);
    try {
      checkNothingLost(database, options.onLostTransactions);
      applyMigrations(database, migrations, beforeCreation);
      return new Store(await SqliteEngine.open(database, lock), migrations);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Runs changes as one: when it resolves they are on disk, and when it rejects none of them is. Transactions are carried out one after another;
   * those that have waited together reach the disk together.
   * @throws {TooManyTransactions}
   */
  transaction<Result>(change: (records: Records) => Promise<Result>): Promise<Result> {
    return this.together<null, Result>(async (records) => [{ status: 'fulfilled', value: await change(records) }])(null);
  }

  /**
   * Makes a transaction of the same kind for each request: those that have waited beside each other are carried out by one call, so that what all of
   * them need is read once, and what they change is written once.
   * @returns What takes a request, and answers as `transaction` does.
   */
  together<Request, Result>(carryOut: CarryOut<Request, Result>): (request: Request) => Promise<Result> {
    const asked = new WeakMap<Waiting, { readonly request: Request; readonly resolve: (result: Result) => void }>();
    const work: Work = async (records, waiting) => {
      const all = waiting.flatMap((one) => asked.get(one) ?? []);
      const results = await carryOut(
        records,
        all.map(({ request }) => request),
      );
      return results.map((result, index) => {
        return result.status === 'rejected' ? result : { ...result, value: () => all[index]?.resolve(result.value) };
      });
    };
    return (request) => {
      if (this.#waiting.length >= transactionLimits.waiting) return Promise.reject(new TooManyTransactions());
      const { promise, resolve, reject } = Promise.withResolvers<Result>();
      const waiting: Waiting = { asked: performance.now(), work, fail: reject };
      asked.set(waiting, { request, resolve });
      this.#waiting.push(waiting);
      if (!this.#isWriting) void this.#writeAll();
      return promise;
    };
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      // A transaction takes no turn of the event loop: what has arrived meanwhile was not read yet, and would be carried out one by one.
      await turnOfTheEventLoop();
      await this.#writeGroup();
    }
    this.#isWriting = false;
  }

  /** Carries out transactions in one of the database; each fails by itself, and all of them where that one does. */
  async #writeGroup(): Promise<void> {
    const outcomes: Outcomes = new Map();
    let group: readonly Waiting[] = [];
    const take = () => {
      group = this.#waiting.splice(0, transactionLimits.group);
      return group;
    };
    let news: News | null = null;
    try {
      news = await this.#engine.transaction(async ({ part, announce }) => {
        // Not before: while other replicas had the turn to write, more have come.
        const runs = besideEachOther(take());
        const isAll = group.length === 1;
        const onUnreadable: OnUnreadable = (row) => this.#unreadableListener(row);
        for (const some of runs) await carryOutTogether(some, (carryOut) => part(carryOut, isAll), { outcomes, onUnreadable });
        const carriedOut = [...outcomes.values()].flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []));
        // Then there is nothing to be kept.
        if (carriedOut.length === 0) throw new Error('every transaction of the group has failed');
        const told = newsIn(carriedOut.map(({ committed }) => committed));
        const text = announcementOf(told);
        if (text !== null) announce(text);
        return told;
      }, transactionLimits);
    } catch (error) {
      const reason = asDatabaseError(error);
      const failed = group.length === 0 ? take() : group;
      const overdue = unavailabilityOf(reason) === null ? [] : this.#takeOverdue();
      for (const one of [...failed, ...overdue])
        if (outcomes.get(one)?.status !== 'rejected') outcomes.set(one, { status: 'rejected', reason });
    }
    for (const [{ asked }, outcome] of outcomes) {
      const milliseconds = performance.now() - asked;
      if (outcome.status === 'rejected') this.#listener({ result: 'rolled-back', milliseconds });
      else this.#listener({ result: 'committed', milliseconds, ...outcome.value.committed });
    }
    if (news !== null) this.#newsListener(news);
    for (const [{ fail }, outcome] of outcomes) {
      if (outcome.status === 'rejected') fail(outcome.reason);
      else outcome.value.succeed();
    }
  }

  /** So that nobody waits for one attempt after another at a database that does not come back. */
  #takeOverdue(): Waiting[] {
    const moment = performance.now() - patience;
    const count = this.#waiting.findIndex(({ asked }) => asked > moment);
    return this.#waiting.splice(0, count === -1 ? this.#waiting.length : count);
  }

  /** Has this one called when there may be something new to be read, whichever replica of the service has written it. It must not throw. */
  onNews(listener: (news: News) => void): void {
    this.#newsListener = listener;
  }

  /** Has this one called after every transaction: what is committed is on disk by then. It must not throw. */
  onTransactionEnd(listener: (end: TransactionEnd) => void): void {
    this.#listener = listener;
  }

  /** Whether a row that a read left out is still there, and still cannot be decoded. */
  isUndecodable(place: RowPlace): Promise<boolean> {
    return isUndecodable(this.#engine.reading.client, place);
  }

  /** Sets the listener for rows that a read left out because they cannot be decoded. It must not throw. */
  onUnreadable(listener: OnUnreadable): void {
    this.#unreadableListener = listener;
  }

  /** Has work done at intervals of so many milliseconds, once in the whole installation at a time. What it does, it may do twice. */
  repeat(name: string, interval: number, work: () => Promise<void>): Repetition {
    return this.#engine.repeat(name, interval, work);
  }

  /** The time of the database, which all replicas of the service share, in milliseconds since 1970; null where there are no replicas. */
  sharedTime(): Promise<number | null> {
    return atDatabase(() => this.#engine.sharedTime());
  }

  /** Brings all that is committed into the main file of the database, so that it stays where the log beside that file is lost. */
  bringLogOver(): Promise<void> {
    return this.#engine.bringLogOver();
  }

  /** What happened to the files of the database behind the back of the service, in words; null where nothing did. */
  fault(): string | null {
    return this.#engine.fault();
  }

  /** Why the database takes no writes, which is tried; whether what is acknowledged is on disk; and why it is not the database of this version, in words. */
  async health(): Promise<{
    readonly writeFault: string | null;
    readonly isDurable: boolean;
    readonly migrationFaults: readonly string[];
  }> {
    return {
      isDurable: await atDatabase(() => this.#engine.isDurable()),
      writeFault: await this.#writeFault(),
      migrationFaults: await this.#migrationFaults(),
    };
  }

  async #writeFault(): Promise<string | null> {
    try {
      await this.#engine.probe();
      return null;
    } catch (error) {
      const { detail } = unavailabilityOf(asDatabaseError(error)) ?? {};
      return detail ?? (error instanceof Error ? error.message : String(error));
    }
  }

  async #migrationFaults(): Promise<string[]> {
    try {
      return migrationFaults(await this.#engine.recordedMigrations(), this.#migrations);
    } catch {
      return ['the database does not say which migrations it has'];
    }
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}

/** Carries out transactions that wait for the same in one part of the database's; where that fails, each in one of its own. */
async function carryOutTogether(
  some: readonly Waiting[],
  part: Transaction['part'],
  { outcomes, onUnreadable }: { readonly outcomes: Outcomes; readonly onUnreadable: OnUnreadable },
): Promise<void> {
  const [first] = some;
  if (first === undefined) return;
  let results: Awaited<ReturnType<Work>> = [];
  let committed = nothingCommitted;
  try {
    await part(async ({ client, statements }) => {
      const records = new Records(client, statements, onUnreadable);
      results = await first.work(records, some);
      committed = records.committed;
    });
  } catch (reason) {
    if (some.length === 1) outcomes.set(first, { status: 'rejected', reason });
    else for (const one of some) await carryOutTogether([one], part, { outcomes, onUnreadable });
    return;
  }
  for (const [index, one] of some.entries()) {
    const result = results[index] ?? { status: 'rejected', reason: new Error('nothing is known of what came of it') };
    outcomes.set(one, result.status === 'rejected' ? result : { ...result, value: { committed, succeed: result.value } });
    // What they have done together is told of once.
    if (result.status === 'fulfilled') committed = nothingCommitted;
  }
}

/** In their order, those together that wait for the same and have no other between them. */
function besideEachOther(group: readonly Waiting[]): Waiting[][] {
  const runs: Waiting[][] = [];
  for (const one of group) {
    const last = runs.at(-1);
    if (last?.[0]?.work === one.work) last.push(one);
    else runs.push([one]);
  }
  return runs;
}

function newsIn(committed: readonly Committed[]): News {
  return {
    events: committed.some(({ events }) => events.length > 0),
    loads: committed.some(({ loads }) => loads.length > 0),
    hosts: [...new Set(committed.flatMap(({ hosts }) => [...hosts]))],
    endedStreams: [...new Set(committed.flatMap(({ endedStreams }) => [...endedStreams]))],
  };
}
