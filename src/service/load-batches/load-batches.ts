// Batches of loads: what one request for several devices created, counted, cancelled and retried together.

import type { LabelSelector } from '../../protocol/label-selector.ts';
import { LoadPolicy, Outcome } from '../../protocol/load-report.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { DamagedItem } from '../database/damaged-rows.ts';
import type { LoadBatchModel, LoadModel } from '../database/generated/models.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { type CreatedLoads, createLoads } from '../loads/batches.ts';
import { endLoads, type OnLoadsEnded } from '../loads/endings.ts';
import { auditOutcomeOf } from '../loads/outcomes.ts';
import { notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { LoadBatchQueries } from './queries.ts';
import { type LoadBatchFilter, type LoadBatchRecord, LoadBatchRecords, type LoadCount } from './repository.ts';
import { findRetryTargets } from './retries.ts';

/** Loads that one transaction cancels. */
const groupSize = 500;

/** The outcomes of loads that a retry repeats. */
const failedOutcomes = Outcome.options.filter((outcome) => auditOutcomeOf(outcome) !== 'succeeded');

/** A batch with the terms of its loads and their progress. */
export type LoadBatchView = {
  readonly record: LoadBatchRecord;
  /** One of its loads: all have the same terms. */
  readonly load: LoadModel;
  readonly counts: readonly LoadCount[];
};

type Uses = { readonly store: Store; readonly clock: Clock };

export class LoadBatches {
  readonly #uses: Uses;
  readonly #onEnded: OnLoadsEnded;

  /** @param onEnded Called in the transaction that ends loads without a report. */
  constructor(uses: Uses, onEnded: OnLoadsEnded) {
    this.#uses = uses;
    this.#onEnded = onEnded;
  }

  /** Returns any batch, also that of a single load or of a rollout. @throws {Problem} `not-found`. */
  get(id: string): Promise<LoadBatchView> {
    return readView(this.#uses.store.readConnection, id);
  }

  /** @throws {Problem} `not-found` if a device of the batch does not match a scope, or the batch does not exist. */
  async checkScope(id: string, scope: LabelSelector): Promise<void> {
    if (!(await new LoadBatchRecords(this.#uses.store.readConnection).isInScope(id, scope))) throw notFound('batch', id);
  }

  /** Lists the requests for several devices. @param scope Lists only those whose devices all match it; null: all requests. */
  list(
    filter: LoadBatchFilter,
    scope: LabelSelector | null,
    page: PageByTime,
  ): Promise<PageResult<LoadBatchModel | DamagedItem, PageByTime>> {
    const { reader, readConnection } = this.#uses.store;
    return readMarkedPage(page, {
      read: async (wanted) => {
        const ids = scope === null ? null : await new LoadBatchRecords(readConnection).listInScope(scope, filter, wanted);
        return new LoadBatchQueries(reader).list(filter, wanted, ids);
      },
      positionOf: ({ requestedAt, id }) => ({ time: requestedAt, key: id }),
      positionOfUndecodable: undecodablePosition.byTime,
    });
  }

  /** Ends the loads that were not sent to a host yet, a group at a time. If it fails midway, the same request continues. @throws {Problem} `not-found`. */
  async cancel(id: string, requester: Requester): Promise<LoadBatchView> {
    const { store, clock } = this.#uses;
    await this.get(id);
    const queued = await new LoadBatchRecords(store.readConnection).queuedLoads(id);
    for (let first = 0; first < queued.length; first += groupSize)
      await store.transaction(async (connection) => {
        const stillQueued = await new LoadBatchRecords(connection).filterQueued(queued.slice(first, first + groupSize));
        const end = { outcome: 'cancelled', reason: `cancelled by ${requester.actor}`, completedAt: clock.now() };
        await endLoads(connection, stillQueued, end, requester, this.#onEnded);
      });
    return this.get(id);
  }

  /**
   * Creates loads with the same content and terms for the devices whose loads failed, in a new batch, all or none. Devices that an earlier retry of the
   * batch has loads for, and decommissioned ones, are left out.
   * The new loads do not override maintenance windows, even if the failed ones did.
   * @throws {Problem} `not-found`, `nothing-to-retry`, `image-pruned`, `build-yanked`, `unsupported-by-host`, `busy`, `windows-closed`.
   */
  async retry(id: string, requester: Requester, toResponse: ToResponse<CreatedLoads>): Promise<CreatedLoads> {
    const { store, clock } = this.#uses;
    return store.transaction(async (connection) => {
      const { record, load } = await readView(connection, id);
      if (load.rolloutId !== null)
        throw new Problem(
          'nothing-to-retry',
          `the batch ${id} is part of the rollout ${load.rolloutId}: retry the failed loads of the rollout`,
        );
      const failed = await new LoadBatchRecords(connection).failedLoads(id, failedOutcomes);
      const targets = await findRetryTargets(connection, load, failed);
      if (targets.length === 0) throw await nothingToRetry(connection, id, failed.length);
      const policy = LoadPolicy.parse(load);
      const terms = { ...policy, deadlineSeconds: deadlineSecondsOf(load), supersede: false, overrideMaintenanceWindow: null };
      const facts = { retryOf: id, ...(record.version === null ? {} : { version: record.version }) };
      const origin = { isRollback: record.rollback, rolloutId: null, retryOf: id };
      const batch = { targets, module: record.module, terms, ...origin, facts, requester };
      const created = await createLoads(connection, batch, clock.now(), this.#onEnded);
      await storeResponse(connection, requester, toResponse, created);
      return created;
    });
  }
}

async function readView(connection: Connection, id: string): Promise<LoadBatchView> {
  const records = new LoadBatchRecords(connection);
  const load = await records.anyLoad(id);
  if (load === null) throw notFound('batch', id);
  const counts = await records.countLoads(id);
  return { record: (await records.find(id)) ?? toRecord(load, counts), load, counts };
}

/** Returns the batch of a single load or of a rollout, which has no row of its own. */
function toRecord(
  { batchId, kind, module, version, rollback, requestedAt, requestedBy }: LoadModel,
  counts: readonly LoadCount[],
): LoadBatchRecord {
  const loads = counts.reduce((total, count) => total + count.loads, 0);
  const single = loads === 1 ? version : null;
  return {
    id: batchId,
    kind,
    module,
    version: single,
    selection: null,
    unreachable: null,
    loads,
    rollback,
    retryOf: null,
    requestedAt,
    requestedBy,
  };
}

/** Returns how long the loads had, in whole seconds. */
function deadlineSecondsOf({ requestedAt, deadlineAt }: LoadModel): number {
  return deadlineAt === null ? 24 * 3_600 : Math.max(1, Math.round((deadlineAt.getTime() - requestedAt.getTime()) / 1_000));
}

async function nothingToRetry(connection: Connection, id: string, failed: number): Promise<Problem> {
  const retry = await new LoadBatchRecords(connection).findRetryOf(id);
  if (failed > 0)
    return new Problem(
      'nothing-to-retry',
      `none of the ${failed} devices with a failed load in the batch ${id} can load it again: they are decommissioned, or no longer have what the loads change`,
    );
  const advice = retry === null ? '' : `: its failed loads were retried as ${retry.id}, so retry that batch`;
  return new Problem('nothing-to-retry', `no load of the batch ${id} has failed${retry === null ? '' : ' since the last retry'}${advice}`);
}
