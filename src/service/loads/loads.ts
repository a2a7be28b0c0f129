// Loads: one build is to be put on devices; each device carries out one load and reports its outcome.

import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import { clockSettings } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { unreadablePosition, withoutMarks } from '../database/readable-rows.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { deviceResolver, type Selector, selectDevices } from '../devices/selection.ts';
import { createDuplicateCheck, storeResponses, type ToResponse } from '../idempotency/idempotency-store.ts';
import { BuildRecords } from '../modules/repository.ts';
import { invalidValue, notFound, Problem } from '../problem.ts';
import { type Requester, systemActor } from '../requester.ts';
import { type Batch, type CreatedLoads, createBatches, type LoadTerms } from './batches.ts';
import { endLoads, type OnLoadsEnded } from './endings.ts';
import { type LoadFilter, LoadQueries, type LoadSummary } from './queries.ts';
import type { LoadRecord } from './repository.ts';
import { LoadRecords } from './repository.ts';

/** Devices for which loads are made at once, where several requests are carried out together. */
const maxDevicesPerGroup = 1_000;
/** How often deadlines are looked at, in milliseconds. */
const deadlineInterval = 1_000;
/** Loads that are ended in one transaction. */
const expiryBatchSize = 500;

export type NewLoadsRequest = LoadTerms & { readonly module: string; readonly version: string; readonly selector: Selector };

type QueuedRequest = { readonly request: NewLoadsRequest; readonly requester: Requester; readonly answerOf: ToResponse<CreatedLoads> };

type Uses = { readonly store: Store; readonly clock: Clock };

export class Loads {
  readonly #uses: Uses;
  readonly #onEnded: OnLoadsEnded;
  readonly #request: (asked: QueuedRequest) => Promise<CreatedLoads>;

  /** @param onEnded Called in the transaction in which loads end that no device reports on. */
  constructor(uses: Uses, onEnded: OnLoadsEnded) {
    this.#uses = uses;
    this.#onEnded = onEnded;
    this.#request = uses.store.batched((connection, asked) => createRequestedLoads(connection, asked, uses.clock.now(), onEnded));
  }

  /** Accepts one load for each selected device, all of them or none. @throws {Problem} `not-found`, `invalid-value`, `busy`. */
  request(request: NewLoadsRequest, requester: Requester, answerOf: ToResponse<CreatedLoads>): Promise<CreatedLoads> {
    return this.#request({ request, requester, answerOf });
  }

  /** Ends a load that waits and was not dispatched; one that is cancelled already stays so. @throws {Problem} `not-found`, `not-queued`. */
  async cancel(id: string, requester: Requester): Promise<LoadRecord> {
    await this.#uses.store.transaction(async (connection) => {
      const load = await new LoadRecords(connection).find(id);
      if (load === null) throw notFound('load', id);
      if (load.outcome === 'cancelled') return;
      if (load.state !== 'queued') {
        const how = load.state === 'dispatched' ? 'its host has been sent it' : `it has ended as ${load.outcome}`;
        throw new Problem('not-queued', `the load ${id} cannot be cancelled any more: ${how}`);
      }
      const end = { outcome: 'cancelled', reason: `cancelled by ${requester.actor}`, completedAt: this.#uses.clock.now() };
      await endLoads(connection, [load], end, requester, this.#onEnded);
    });
    return this.get(id);
  }

  /** Ends the loads whose deadline is over, from now on; once in the whole installation. */
  startExpiring(): RecurringJob {
    return this.#uses.store.scheduleJob('deadlines', deadlineInterval, () => this.expire());
  }

  /** Ends the loads whose deadline is over. */
  async expire(): Promise<void> {
    const now = this.#uses.clock.now();
    await this.#correctFutureRequests(now);
    const isOver = await new LoadRecords(this.#uses.store.readConnection).listOverdue(now, 1);
    if (isOver.length === 0) return;
    let ended: number;
    do {
      ended = await this.#uses.store.transaction(async (connection) => {
        const overdue = await new LoadRecords(connection).listOverdue(now, expiryBatchSize);
        const end = { outcome: 'expired', reason: 'its deadline was over before its device had carried it out', completedAt: now };
        return endLoads(connection, overdue, end, systemActor, this.#onEnded);
      });
    } while (ended === expiryBatchSize);
  }

  /**
   * Loads that seem to have been requested in the future were requested while the clock was ahead: they keep the time that they were given, from now
   * on.
   */
  async #correctFutureRequests(now: Date): Promise<void> {
    const { store } = this.#uses;
    const future = new Date(now.getTime() + clockSettings.tolerance);
    if ((await new LoadRecords(store.readConnection).listRequestedAfter(future, 1)).length === 0) return;
    await store.transaction(async (connection) => {
      const loads = withoutMarks(await new LoadRecords(connection).listRequestedAfter(future, expiryBatchSize));
      if (loads.length === 0) return;
      await new LoadRecords(connection).moveRequestTimes(loads, now);
      await audit(
        connection,
        systemActor,
        now,
        loads.map(({ id, requestedAt }) => {
          const reason = 'the clock of the service was ahead when it was requested';
          return {
            action: 'load.deadline-moved',
            object: id,
            detail: { reason, millisecondsAhead: requestedAt.getTime() - now.getTime() },
          };
        }),
      );
    });
  }

  /** @throws {Problem} `not-found`. */
  async get(id: string): Promise<LoadRecord> {
    const load = await new LoadRecords(this.#uses.store.readConnection).find(id);
    if (load === null) throw notFound('load', id);
    return load;
  }

  list(filter: LoadFilter, page: PageByTime): Promise<PageResult<LoadSummary | DamagedItem, PageByTime>> {
    return readMarkedPage(page, {
      read: (wanted) => new LoadQueries(this.#uses.store.reader).list(filter, wanted),
      positionOfUnreadable: unreadablePosition.byTime,
      positionOf: ({ requestedAt, id }) => ({ time: requestedAt, key: id }),
      bytesOf: ({ reason, downgradeReason }) => (reason?.length ?? 0) + (downgradeReason?.length ?? 0),
    });
  }
}

/** Carries out requests that have waited beside each other. */
async function createRequestedLoads(
  connection: Connection,
  asked: readonly QueuedRequest[],
  now: Date,
  onEnded: OnLoadsEnded,
): Promise<PromiseSettledResult<CreatedLoads>[]> {
  const results: PromiseSettledResult<CreatedLoads>[] = [];
  for (const some of groupRequests(asked)) results.push(...(await createGroup(connection, some, now, onEnded)));
  return results;
}

/** In their order, those together whose loads are made at once. */
function groupRequests(asked: readonly QueuedRequest[]): QueuedRequest[][] {
  const runs: QueuedRequest[][] = [];
  let room = 0;
  for (const one of asked) {
    const { selector, supersede } = one.request;
    // The loads that give way to others are looked for among what is written, and how many devices have some labels is not known.
    const devices = supersede || 'labels' in selector ? maxDevicesPerGroup : selector.devices.length;
    const last = runs.at(-1);
    if (last !== undefined && devices <= room) last.push(one);
    else {
      runs.push([one]);
      room = maxDevicesPerGroup;
    }
    room -= devices;
  }
  return runs;
}

async function createGroup(
  connection: Connection,
  asked: readonly QueuedRequest[],
  now: Date,
  onEnded: OnLoadsEnded,
): Promise<PromiseSettledResult<CreatedLoads>[]> {
  const named = asked.flatMap(({ request: { selector } }) => ('devices' in selector ? selector.devices : []));
  const [builds, devicesNamed, checkNotAnswered] = await Promise.all([
    new BuildRecords(connection).findLoadable(asked.map(({ request }) => request)),
    deviceResolver(connection, named),
    createDuplicateCheck(
      connection,
      asked.map(({ requester }) => requester),
    ),
  ]);
  const batchOf = async ({ request, requester }: QueuedRequest): Promise<Batch> => {
    const { module, version, selector, ...terms } = request;
    checkNotAnswered(requester);
    const build = builds.find((one) => one.module === module && one.version === version);
    if (build === undefined) throw await unknownBuildProblem(connection, module, version);
    const devices = 'devices' in selector ? devicesNamed(selector.devices) : await selectDevices(connection, selector);
    const targets = devices.map((device) => ({ device, build }));
    const facts = { version, ...('labels' in selector ? selector : {}) };
    return { targets, module, terms, isRollback: false, rolloutId: null, facts, requester };
  };
  const batches: PromiseSettledResult<Batch>[] = [];
  for (const one of asked) batches.push(...(await Promise.allSettled([batchOf(one)])));
  const results = await createBatches(connection, batches, now, onEnded);
  const answers = results.flatMap((result, index) => {
    const { requester, answerOf } = asked[index] ?? {};
    const request = requester?.idempotentRequest;
    if (result.status === 'rejected' || request === undefined || answerOf === undefined) return [];
    return { request, answer: answerOf(result.value) };
  });
  await storeResponses(connection, answers);
  return results;
}

/** There is no such build; the message says which there are. */
export async function unknownBuildProblem(connection: Connection, module: string, version: string): Promise<Problem> {
  const versions = await new BuildRecords(connection).versions(module);
  if (versions.length === 0) return invalidValue('/module', `there is no module ${module}: push a build first`);
  return invalidValue('/version', `there is no build ${module}@${version}: there is ${versions.slice(-20).join(', ')}`);
}
