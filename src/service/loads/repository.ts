// Loads: one run of the isolation workflow on one device each.

import type { LabelSelector } from '../../protocol/label-selector.ts';
import type { LoadReport } from '../../protocol/load-report.ts';
import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { Prisma } from '../database/generated/client.ts';
import type { LoadBatchModel, LoadModel } from '../database/generated/models.ts';
import { Json } from '../database/json.ts';
import { deviceMatches } from '../database/label-conditions.ts';
import { PreparedQuery, RowStatement } from '../database/prepared-statements.ts';
import { type MarkedRows, withoutMarks } from '../database/readable-rows.ts';
import { decodeReport, encodeReport } from './stored-report.ts';

/** A load with its report; null if its device has not reported. */
export type LoadRecord = LoadModel & { readonly report: Prisma.JsonValue };
/** The columns that are set when a load is created. */
const newLoadColumns = {
  id: 'text',
  batchId: 'text',
  deviceId: 'text',
  kind: 'text',
  buildId: 'text',
  module: 'text',
  version: 'text',
  patchSetId: 'text?',
  forceReason: 'text?',
  strategy: 'text',
  invalidation: 'text',
  drainMilliseconds: 'integer?',
  versionPolicy: 'text',
  downgradeReason: 'text?',
  similarityPolicy: 'text',
  linkPolicy: 'text',
  state: 'text',
  requestedAt: 'time',
  requestedBy: 'text?',
  rollback: 'boolean',
  rolloutId: 'text?',
  deadlineAt: 'time?',
  heldSince: 'time?',
  heldUntil: 'time?',
  windowOverride: 'text?',
} as const;
export type NewLoad = Pick<LoadModel, keyof typeof newLoadColumns>;
/** A request for loads on several devices. */
export type NewLoadBatch = Omit<LoadBatchModel, 'selection' | 'unreachable'> & {
  readonly selection: Json;
  readonly unreachable: Json | null;
};
export type LoadCompletion = Pick<LoadModel, 'id' | 'requestedAt'> & {
  readonly outcome: string;
  readonly reason: string | null;
  readonly interrupted: number;
  readonly retried: number;
  readonly failed: number;
  readonly completedAt: Date;
  readonly report: LoadReport;
};
/** The end of a load without a report. */
export type LoadEnd = Pick<LoadCompletion, 'outcome' | 'reason' | 'completedAt'>;

/** A load that ended without a report. */
export type EndedLoad = Pick<LoadModel, 'id' | 'rolloutId' | 'dispatchedAt' | 'heldSince'>;

/** The loads of a device that have not ended: all, and those that are held. */
export type OpenLoadCount = { readonly loads: number; readonly held: number };
/** A queued load that does not override maintenance windows, and who requested it. */
export type HoldableLoad = Pick<LoadModel, 'id' | 'requestedBy' | 'rolloutId'>;
/** A device with held loads, and when its maintenance windows open, as last determined. */
export type HeldDevice = { readonly deviceId: string; readonly heldUntil: Date | null };

/** Who requested a load, when, and for which rollout. */
export type LoadRequest = Pick<LoadModel, 'id' | 'requestedAt' | 'requestedBy' | 'rolloutId'>;

/** A load to add to the totals. */
type CountedLoad = Pick<LoadCompletion, 'outcome' | 'completedAt' | 'requestedAt' | 'interrupted' | 'failed'>;
/** The module of loads, or the patch set with this name. */
export type QueueSubject = { readonly module: string; readonly isPatchSet: boolean };
/** The request time and deadline of a load. */
export type LoadTimes = Pick<LoadModel, 'id' | 'requestedAt' | 'deadlineAt'>;

export const openStates = ['queued', 'dispatched'] as const;
export const loadStates = [...openStates, 'completed'] as const;

/** How error messages name a row. */
const loadRow = { kind: 'load', table: 'Load', key: ['id'] } as const;

const insertLoad = new RowStatement(newLoadColumns, (sql, load) => sql.insertInto('Load').values(load));

const insertBatch = new RowStatement(
  {
    id: 'text',
    kind: 'text',
    module: 'text',
    version: 'text?',
    selection: 'json',
    unreachable: 'json?',
    loads: 'integer',
    rollback: 'boolean',
    retryOf: 'text?',
    requestedAt: 'time',
    requestedBy: 'text?',
  },
  (sql, batch) => sql.insertInto('LoadBatch').values(batch),
);

const completeLoad = new RowStatement(
  { outcome: 'text', reason: 'text?', interrupted: 'integer', retried: 'integer', failed: 'integer', completedAt: 'time', id: 'text' },
  (sql, { id, ...end }) =>
    sql
      .updateTable('Load')
      .set({ ...end, state: 'completed' })
      .where('id', '=', id)
      .where('state', '<>', 'completed'),
);

const insertReport = new RowStatement({ loadId: 'text', body: 'json' }, (sql, report) => sql.insertInto('LoadReport').values(report));

const addToTotal = new RowStatement({ outcome: 'text', loads: 'integer', interrupted: 'bigint', failed: 'bigint' }, (sql, ended) =>
  sql
    .insertInto('LoadTotal')
    .values(ended)
    .onConflict((conflict) =>
      conflict.column('outcome').doUpdateSet((total) => ({
        loads: total('LoadTotal.loads', '+', total.ref('excluded.loads')),
        interrupted: total('LoadTotal.interrupted', '+', total.ref('excluded.interrupted')),
        failed: total('LoadTotal.failed', '+', total.ref('excluded.failed')),
      })),
    ),
);

const updateLoadState = new RowStatement(
  { to: 'text', dispatchedAt: 'time?', id: 'text', from: 'text' },
  (sql, { to, dispatchedAt, id, from }) =>
    sql.updateTable('Load').set({ state: to, dispatchedAt, drainingSince: null }).where('id', '=', id).where('state', '=', from),
);

const beginDrain = new RowStatement({ drainingSince: 'time', id: 'text', deviceId: 'text' }, (sql, { drainingSince, id, deviceId }) =>
  sql
    .updateTable('Load')
    .set({ drainingSince })
    .where('id', '=', id)
    .where('deviceId', '=', deviceId)
    .where('state', '=', 'dispatched')
    .where('drainingSince', 'is', null),
);

const updateRequestTime = new RowStatement({ requestedAt: 'time', deadlineAt: 'time?', id: 'text' }, (sql, { id, ...times }) =>
  sql.updateTable('Load').set(times).where('id', '=', id).where('outcome', 'is', null),
);

const requestsOfLoads = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('Load')
    .select(['id', 'requestedAt', 'requestedBy', 'rolloutId'])
    .where(({ ref }) => ids.includes(ref('id'))),
);

const openLoadsByDevice = new PreparedQuery({ deviceIds: 'list' }, (sql, { deviceIds }) =>
  sql
    .selectFrom('Load')
    .select(({ fn }) => ['deviceId', fn.countAll<number | bigint>().as('loads'), fn.count<number | bigint>('heldSince').as('held')])
    .where(({ ref }) => deviceIds.includes(ref('deviceId')))
    .where('outcome', 'is', null)
    .groupBy('deviceId'),
);

const holdLoad = new RowStatement(
  { heldSince: 'time', heldUntil: 'time?', deadlineAt: 'time?', id: 'text' },
  (sql, { id, heldSince, heldUntil, deadlineAt }) =>
    sql
      .updateTable('Load')
      .set(({ fn, ref }) => ({ heldSince, heldUntil, deadlineAt: fn.coalesce(deadlineAt, ref('Load.deadlineAt')) }))
      .where('id', '=', id)
      .where('state', '=', 'queued'),
);

const releaseLoad = new RowStatement({ heldUntil: 'time', deadlineAt: 'time?', id: 'text' }, (sql, { id, heldUntil, deadlineAt }) =>
  sql
    .updateTable('Load')
    // Never later: the deadline may have been moved since the order was stored.
    .set(({ eb, ref }) => ({
      heldSince: null,
      heldUntil,
      deadlineAt: eb.case().when('Load.deadlineAt', '>', deadlineAt).then(deadlineAt).else(ref('Load.deadlineAt')).end(),
    }))
    .where('id', '=', id)
    .where('state', '=', 'queued'),
);

const moveOpening = new RowStatement({ deviceId: 'text', heldUntil: 'time?' }, (sql, { deviceId, heldUntil }) =>
  sql.updateTable('Load').set({ heldUntil }).where('deviceId', '=', deviceId).where('heldSince', 'is not', null),
);

const holdableLoads = new PreparedQuery({ ids: 'list' }, (sql, { ids }) =>
  sql
    .selectFrom('Load')
    .select(['id', 'requestedBy', 'rolloutId'])
    .where(({ ref }) => ids.includes(ref('id')))
    .where('state', '=', 'queued')
    .where('windowOverride', 'is', null),
);

const queuedLoads = (isPatchSet: boolean) =>
  new PreparedQuery({ deviceIds: 'list', module: 'text' }, (sql, { deviceIds, module }) =>
    sql
      .selectFrom('Load')
      .select(['id', 'deviceId'])
      .where(({ ref }) => deviceIds.includes(ref('deviceId')))
      .where('state', '=', 'queued')
      .where('module', '=', module)
      .where('kind', isPatchSet ? '=' : '<>', 'patch-set')
      .where('outcome', 'is', null),
  );
const queuedLoadsOfModule = queuedLoads(false);
const queuedLoadsOfPatchSet = queuedLoads(true);

export class LoadRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async create(loads: readonly NewLoad[]): Promise<void> {
    await this.#connection.executeForRows(insertLoad, loads);
  }

  /** Stores requests for loads on several devices. */
  async createBatches(batches: readonly NewLoadBatch[]): Promise<void> {
    if (batches.length > 0) await this.#connection.executeForRows(insertBatch, batches);
  }

  /** Returns whether the load exists and its device matches a scope. */
  async isInScope(id: string, scope: LabelSelector): Promise<boolean> {
    const load = this.#connection.sql
      .selectFrom('Load')
      .select('id')
      .where('id', '=', id)
      .where(({ ref }) => deviceMatches(ref('Load.deviceId'), scope));
    return (await load.executeTakeFirst()) !== undefined;
  }

  async find(id: string): Promise<LoadRecord | null> {
    const { sql } = this.#connection;
    const load = await sql.selectFrom('Load').selectAll().where('id', '=', id).executeTakeFirst();
    if (load === undefined) return null;
    const report = await sql.selectFrom('LoadReport').select('body').where('loadId', '=', id).executeTakeFirst();
    return { ...load, report: report === undefined ? null : decodeReport(report.body) };
  }

  /** Returns the requests of loads, by identifier. @throws {UndecodableCell} if a time cannot be decoded. */
  async requestsOf(ids: readonly string[]): Promise<Map<string, LoadRequest>> {
    const rows = await this.#connection.query(requestsOfLoads, { ids });
    return new Map(rows.map((row) => [row.id, row]));
  }

  /** Ends loads as their devices report. Does not change loads that have ended before. Returns the identifiers of the loads that it ended. */
  async complete(completions: readonly LoadCompletion[]): Promise<Set<string>> {
    const changes = await this.#connection.executeForRows(completeLoad, completions);
    const ended = completions.filter((_, index) => changes[index] === 1);
    await this.#connection.executeForRows(
      insertReport,
      ended.map(({ id, report }) => ({ loadId: id, body: Json.ofText(encodeReport(report)) })),
    );
    for (const { report } of completions) this.#connection.commitEffects.reports.push(report);
    await this.#count(ended);
    return new Set(ended.map(({ id }) => id));
  }

  /** Ends loads that have not ended, and returns them. */
  async end(ids: readonly string[], { outcome, reason, completedAt }: LoadEnd): Promise<EndedLoad[]> {
    return readInChunks(ids, async (chunk) => {
      const { sql } = this.#connection;
      // Read first, so that an undecodable row is not changed and does not block the others.
      const open = sql
        .selectFrom('Load')
        .select(['id', 'requestedAt', 'rolloutId', 'dispatchedAt', 'heldSince'])
        .where('id', 'in', chunk)
        .where('outcome', 'is', null);
      const ended = withoutMarks(await this.#connection.queryReadable(open, loadRow));
      if (ended.length === 0) return [];
      const endedIds = ended.map(({ id }) => id);
      const end = { state: 'completed', outcome, reason, completedAt, heldSince: null, heldUntil: null };
      await sql.updateTable('Load').set(end).where('id', 'in', endedIds).where('outcome', 'is', null).execute();
      await this.#count(ended.map(({ requestedAt }) => ({ outcome, completedAt, requestedAt, interrupted: 0, failed: 0 })));
      return ended;
    });
  }

  /** Adds loads to the totals. */
  async #count(ended: readonly CountedLoad[]): Promise<void> {
    const totals = new Map<string, { loads: number; interrupted: number; failed: number }>();
    for (const { outcome, completedAt, requestedAt, interrupted, failed } of ended) {
      this.#connection.commitEffects.loads.push({ outcome, completedAt, requestedAt });
      const total = totals.get(outcome) ?? { loads: 0, interrupted: 0, failed: 0 };
      totals.set(outcome, { loads: total.loads + 1, interrupted: total.interrupted + interrupted, failed: total.failed + failed });
    }
    await this.#connection.executeForRows(
      addToTotal,
      [...totals].map(([outcome, { loads, interrupted, failed }]) => ({
        outcome,
        loads,
        interrupted: BigInt(interrupted),
        failed: BigInt(failed),
      })),
    );
  }

  /** Marks loads as dispatched at a time, or as queued again (null). */
  async setDispatched(ids: readonly string[], dispatchedAt: Date | null): Promise<void> {
    const [from, to] = dispatchedAt === null ? ['dispatched', 'queued'] : ['queued', 'dispatched'];
    await this.#connection.executeForRows(
      updateLoadState,
      ids.map((id) => ({ to, dispatchedAt, id, from })),
    );
  }

  /** Records when loads began to drain. Returns the identifiers of those that were not known to drain; others are unchanged. */
  async setDraining(
    drains: readonly { readonly id: string; readonly deviceId: string; readonly drainingSince: Date }[],
  ): Promise<Set<string>> {
    const changes = await this.#connection.executeForRows(beginDrain, drains);
    return new Set(drains.flatMap(({ id }, index) => (changes[index] === 1 ? [id] : [])));
  }

  /** Returns open loads whose deadline has passed, earliest deadline first. */
  async listOverdue(moment: Date, limit: number): Promise<Pick<LoadModel, 'id' | 'deviceId'>[]> {
    return this.#connection.sql
      .selectFrom('Load')
      .select(['id', 'deviceId'])
      .where('outcome', 'is', null)
      .where('deadlineAt', '<=', moment)
      .orderBy('deadlineAt')
      .limit(limit)
      .execute();
  }

  /** Returns open loads requested after a time, newest first. */
  async listRequestedAfter(moment: Date, limit: number): Promise<MarkedRows<LoadTimes>> {
    const query = this.#connection.sql
      .selectFrom('Load')
      .select(['id', 'requestedAt', 'deadlineAt'])
      .where('outcome', 'is', null)
      .where('requestedAt', '>', moment)
      .orderBy('requestedAt', 'desc')
      .orderBy('id', 'desc')
      .limit(limit);
    return this.#connection.queryReadable(query, loadRow);
  }

  /** Sets the request time of loads, and moves their deadlines by the same amount. */
  async moveRequestTimes(loads: readonly LoadTimes[], requestedAt: Date): Promise<void> {
    await this.#connection.executeForRows(
      updateRequestTime,
      loads.map(({ id, requestedAt: before, deadlineAt }) => {
        const deadline = deadlineAt && new Date(deadlineAt.getTime() - before.getTime() + requestedAt.getTime());
        return { requestedAt, deadlineAt: deadline, id };
      }),
    );
  }

  /**
   * Returns the queued loads of a module for these devices, including those that unload it, or those of a patch set: a patch set can have the name of a
   * module.
   */
  async listQueued(deviceIds: readonly string[], subject: QueueSubject): Promise<{ id: string; deviceId: string }[]> {
    const { module, isPatchSet } = subject;
    const query = isPatchSet ? queuedLoadsOfPatchSet : queuedLoadsOfModule;
    return deviceIds.length === 0 ? [] : this.#connection.query(query, { deviceIds, module });
  }

  /** Returns the loads of these devices that have not ended, in the order of their requests. */
  async listOpenOn(deviceIds: readonly string[]): Promise<{ id: string; deviceId: string }[]> {
    return readInChunks(deviceIds, (chunk) =>
      this.#connection.sql
        .selectFrom('Load')
        .select(['id', 'deviceId'])
        .where('deviceId', 'in', chunk)
        .where('outcome', 'is', null)
        .orderBy('id')
        .execute(),
    );
  }

  /** Returns which of these loads were sent to their host. */
  async filterDispatched(ids: readonly string[]): Promise<Set<string>> {
    const loads = await readInChunks(ids, (chunk) =>
      this.#connection.sql.selectFrom('Load').select('id').where('id', 'in', chunk).where('dispatchedAt', 'is not', null).execute(),
    );
    return new Set(loads.map(({ id }) => id));
  }

  /** Returns those of these loads that can be held, by identifier: they were not sent to a host, and do not override maintenance windows. */
  async listHoldable(ids: readonly string[]): Promise<Map<string, HoldableLoad>> {
    return new Map((await this.#connection.query(holdableLoads, { ids })).map((load) => [load.id, load]));
  }

  /** Returns the deadlines of loads, by identifier; without an entry for a load without a deadline. */
  async deadlinesOf(ids: readonly string[]): Promise<Map<string, Date>> {
    const rows = await readInChunks(ids, async (chunk) => {
      const loads = this.#connection.sql.selectFrom('Load').select(['id', 'deadlineAt']).where('id', 'in', chunk);
      return withoutMarks(await this.#connection.queryReadable(loads, loadRow));
    });
    return new Map(rows.flatMap(({ id, deadlineAt }) => (deadlineAt === null ? [] : [[id, deadlineAt]])));
  }

  /** Marks queued loads as held, with their new deadlines; null: unchanged. */
  async setHeld(loads: readonly (Pick<LoadModel, 'id' | 'heldUntil' | 'deadlineAt'> & { readonly heldSince: Date })[]): Promise<void> {
    await this.#connection.executeForRows(holdLoad, loads);
  }

  /** Marks held loads as released at a time, with their new deadlines, unless theirs are earlier; null: unchanged. */
  async setReleased(loads: readonly Pick<LoadModel, 'id' | 'deadlineAt'>[], releasedAt: Date): Promise<void> {
    await this.#connection.executeForRows(
      releaseLoad,
      loads.map((load) => ({ ...load, heldUntil: releasedAt })),
    );
  }

  /** Sets when the maintenance windows of devices with held loads open. */
  async setHeldUntil(devices: readonly HeldDevice[]): Promise<void> {
    await this.#connection.executeForRows(moveOpening, devices);
  }

  /** Returns devices with held loads after a device, in ascending order; one entry for each opening that was recorded. @param due Only those whose windows should have opened by this time; null: all. */
  async listHeldDevices(after: string, due: Date | null, limit: number): Promise<HeldDevice[]> {
    let query = this.#connection.sql
      .selectFrom('Load')
      .select(['deviceId', 'heldUntil'])
      .distinct()
      .where('heldSince', 'is not', null)
      .where('deviceId', '>', after);
    if (due !== null) query = query.where('heldUntil', '<=', due);
    return query.orderBy('deviceId').orderBy('heldUntil').limit(limit).execute();
  }

  /** Counts queued and dispatched loads by device; without an entry for a device without open loads. */
  async countOpen(deviceIds: readonly string[]): Promise<Map<string, OpenLoadCount>> {
    if (deviceIds.length === 0) return new Map();
    const rows = await this.#connection.query(openLoadsByDevice, { deviceIds });
    return new Map(rows.map(({ deviceId, loads, held }) => [deviceId, { loads: Number(loads), held: Number(held) }]));
  }
}
