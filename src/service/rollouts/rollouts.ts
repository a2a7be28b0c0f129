// Rollouts: creates, lists, follows and changes rollouts, and runs them in the background.

import { setTimeout as delay } from 'node:timers/promises';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import type { Tracer } from '../../tracing/tracer.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import { DamagedItem, isDamagedRowError, readViewsOrMarks } from '../database/damaged-rows.ts';
import type { PageByNumber, PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { RecurringJob } from '../database/recurring-job.ts';
import type { Store } from '../database/store.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { modulesOf, readPatchSet } from './content.ts';
import { createRollout } from './creation.ts';
import type { Decision } from './decisions.ts';
import { type MeasuredDevice, measureDevices } from './device-measurement.ts';
import { type RolloutDeviceFilter, RolloutQueries } from './queries.ts';
import type { RolloutFilter, RolloutRecord } from './repository.ts';
import { RolloutRecords } from './repository.ts';
import { type Preview, previewRollout, type RolloutRequest } from './requests.ts';
import { RolloutRunner } from './runner.ts';
import { type RolloutView, readView } from './status.ts';

/** Interval between checks of open rollouts, in milliseconds. */
const checkInterval = 250;
/** Interval between reads for each follower of a rollout, in milliseconds. */
const followInterval = 250;
/** Maximum number of followers. */
const followerLimit = 100;
/** Devices of a report read at once. */
const reportBatchSize = 200;

type Uses = { readonly store: Store; readonly clock: Clock; readonly tracer: Tracer | null };

export class Rollouts {
  readonly #uses: Uses;
  readonly #runner: RolloutRunner;
  readonly #job: RecurringJob;
  readonly #closed = new AbortController();
  #followers = 0;

  constructor(uses: Uses) {
    this.#uses = uses;
    this.#runner = new RolloutRunner(uses);
    this.#job = uses.store.scheduleJob('rollouts', checkInterval, () => this.#runner.advance());
  }

  /** Why rollouts cannot advance, one message per rollout. */
  get faults(): readonly string[] {
    return [...this.#runner.faults].map(([id, fault]) => `rollout ${id} cannot advance: ${fault}`);
  }

  /** Checks open rollouts soon, because loads have ended. */
  wake(): void {
    this.#job.trigger();
  }

  /** Ends every follower's stream; later streams end at once. */
  closeStreams(): void {
    this.#closed.abort();
  }

  /** Stops advancing rollouts; resolves when the current step is finished. */
  async stop(): Promise<void> {
    await this.#job.stop();
  }

  /**
   * Accepts a rollout, which then advances in the background.
   * @throws {Problem} `invalid-value`, `image-pruned`, `build-yanked`, `already-installed`, `all-unreachable`, `unsupported-by-host`, `rollout-conflict`,
   * `too-many-rollouts`.
   */
  async request(requested: RolloutRequest, requester: Requester, toResponse: ToResponse<RolloutView>): Promise<RolloutView> {
    const view = await this.#uses.store.transaction(async (connection) => {
      const created = await createRollout(connection, requested, requester, this.#uses.clock.now());
      await storeResponse(connection, requester, toResponse, created);
      return created;
    });
    this.wake();
    return view;
  }

  /** Returns the effect of a rollout without creating it. @throws {Problem} as `request`, except for conflicts. */
  preview(request: RolloutRequest): Promise<Preview> {
    return previewRollout(this.#uses.store.readConnection, request, this.#uses.clock.now());
  }

  /** Applies an operator's decision. @throws {Problem} `not-found`, and the problems of the decision. */
  async decide(id: string, decision: Decision, requester: Requester, toResponse: ToResponse<RolloutView>): Promise<RolloutView> {
    const view = await this.#uses.store.transaction(async (connection) => {
      const now = this.#uses.clock.now();
      const result = await decision(connection, await readView(connection, await findRollout(connection, id), now), requester, now);
      await storeResponse(connection, requester, toResponse, result);
      return result;
    });
    this.#runner.recheck(id);
    this.wake();
    return view;
  }

  /** @throws {Problem} `not-found`. */
  async view(id: string): Promise<RolloutView> {
    const { readConnection } = this.#uses.store;
    return readView(readConnection, await findRollout(readConnection, id), this.#uses.clock.now());
  }

  /** @throws {Problem} `not-found` if a device of the rollout does not match a scope, or the rollout does not exist. */
  async checkScope(id: string, scope: LabelSelector): Promise<void> {
    if (!(await this.#isInScope(id, scope))) throw notFound('rollout', id);
  }

  #isInScope(id: string, scope: LabelSelector): Promise<boolean> {
    return new RolloutRecords(this.#uses.store.readConnection).isInScope(id, scope);
  }

  /** @param scope Lists only the rollouts whose devices all match it; null: all rollouts. */
  async list(
    filter: RolloutFilter,
    scope: LabelSelector | null,
    wantedPage: PageByTime,
  ): Promise<PageResult<RolloutView | DamagedItem, PageByTime>> {
    const { readConnection, reader } = this.#uses.store;
    const queries = new RolloutQueries(reader);
    const page = await readMarkedPage(wantedPage, {
      read: async (wanted) => {
        const ids = scope === null ? null : await new RolloutRecords(readConnection).listInScope(scope, filter, wanted);
        return queries.list(filter, wanted, ids);
      },
      positionOf: ({ requestedAt, id }) => ({ time: requestedAt, key: id }),
      positionOfUndecodable: undecodablePosition.byTime,
    });
    const now = this.#uses.clock.now();
    const items: (RolloutView | DamagedItem)[] = [];
    for (const record of page.items) items.push(record instanceof DamagedItem ? record : await viewOrMark(readConnection, record, now));
    return { ...page, items };
  }

  /** Returns devices of a rollout in loading order, with their measurements. @throws {Problem} `not-found`. */
  async devices(filter: RolloutDeviceFilter, wantedPage: PageByNumber): Promise<PageResult<MeasuredDevice | DamagedItem, PageByNumber>> {
    const { readConnection, reader } = this.#uses.store;
    const queries = new RolloutQueries(reader);
    const rollout = await findRollout(readConnection, filter.rolloutId);
    const modules = modulesOf(rollout, await readPatchSet(readConnection, rollout));
    const page = await readMarkedPage(wantedPage, {
      read: (wanted) => queries.devices(filter, wanted),
      positionOf: ({ position }) => ({ number: position }),
      positionOfUndecodable: undecodablePosition.byNumber,
    });
    const items = await readViewsOrMarks(
      page.items,
      ({ deviceId }) => deviceId,
      (some) => measureDevices(readConnection, { id: rollout.id, modules }, some),
    );
    return { ...page, items };
  }

  /** Yields all devices of a rollout in loading order. */
  async *report(id: string): AsyncGenerator<MeasuredDevice | DamagedItem, void> {
    let page: PageByNumber | null = { sort: 'number', order: 'asc', limit: reportBatchSize, after: null };
    while (page !== null) {
      const { items, next }: PageResult<MeasuredDevice | DamagedItem, PageByNumber> = await this.devices({ rolloutId: id }, page);
      yield* items;
      page = next;
    }
  }

  /**
   * Yields the status of a rollout now and at each interval, until the rollout ends, a device of it leaves the scope, or the signal is aborted.
   * @param scope The scope of the follower; null: all devices.
   * @throws {Problem} `not-found`, `busy` if the limit of followers is reached.
   */
  async follow(id: string, scope: LabelSelector | null, signal: AbortSignal): Promise<AsyncGenerator<RolloutView, void>> {
    await this.view(id);
    if (this.#followers >= followerLimit)
      throw new Problem(
        'busy',
        `limit reached: ${followerLimit} clients follow rollouts. Close an unused stream, or poll GET /v1/rollouts`,
      );
    this.#followers += 1;
    return this.#follow(id, scope, AbortSignal.any([signal, this.#closed.signal]));
  }

  async *#follow(id: string, scope: LabelSelector | null, ended: AbortSignal): AsyncGenerator<RolloutView, void> {
    try {
      while (!ended.aborted) {
        const view = await this.view(id);
        // Labels may have changed, or devices may have joined, since the request.
        if (scope !== null && !(await this.#isInScope(id, scope))) return;
        yield view;
        if (view.record.endedAt !== null) return;
        await delay(followInterval, null, { signal: ended }).catch(() => {});
      }
    } finally {
      this.#followers -= 1;
    }
  }
}

async function viewOrMark(connection: Connection, record: RolloutRecord, now: Date): Promise<RolloutView | DamagedItem> {
  try {
    return await readView(connection, record, now);
  } catch (error) {
    if (!isDamagedRowError(error)) throw error;
    return new DamagedItem(record.id, error);
  }
}

async function findRollout(connection: Connection, id: string) {
  const record = await new RolloutRecords(connection).find(id);
  if (record === null) throw notFound('rollout', id);
  return record;
}
