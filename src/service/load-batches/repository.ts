// Rows of load batches and of their loads.

import type { LabelSelector } from '../../protocol/label-selector.ts';
import { readInChunks } from '../database/chunks.ts';
import type { Connection } from '../database/connection.ts';
import type { LoadBatchModel, LoadModel } from '../database/generated/models.ts';
import { deviceMatches } from '../database/label-conditions.ts';
import type { PageByTime, TimeRange } from '../database/page.ts';
import { timeExpressions } from '../database/page-expressions.ts';

export type LoadBatchRecord = LoadBatchModel;
export type LoadBatchFilter = TimeRange & { readonly module?: string | undefined; readonly version?: string | undefined };
export type QueuedLoad = Pick<LoadModel, 'id' | 'deviceId'>;
export type FailedLoad = Pick<LoadModel, 'deviceId' | 'module' | 'version'>;

/** The number of loads of a batch in a state and with an outcome. */
export type LoadCount = Pick<LoadModel, 'state' | 'outcome'> & { readonly loads: number };

export class LoadBatchRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Returns a batch; null if it was not a request for several devices, or does not exist. */
  async find(id: string): Promise<LoadBatchRecord | null> {
    return (await this.#connection.sql.selectFrom('LoadBatch').selectAll().where('id', '=', id).executeTakeFirst()) ?? null;
  }

  /** Returns whether the batch exists and the devices of all its loads match a scope. */
  async isInScope(id: string, scope: LabelSelector): Promise<boolean> {
    const loads = this.#connection.sql.selectFrom('Load').select('id').where('batchId', '=', id);
    const outside = loads.where(({ not, ref }) => not(deviceMatches(ref('Load.deviceId'), scope)));
    const [first, firstOutside] = await Promise.all([loads.limit(1).execute(), outside.limit(1).execute()]);
    return first.length > 0 && firstOutside.length === 0;
  }

  /** Returns the identifiers of a page of the batches whose devices all match a scope. */
  async listInScope(scope: LabelSelector, { module, version, ...range }: LoadBatchFilter, page: PageByTime): Promise<string[]> {
    const batches = this.#connection.sql
      .selectFrom('LoadBatch')
      .select('id')
      .$if(module !== undefined, (some) => some.where('module', '=', module ?? ''))
      .$if(version !== undefined, (some) => some.where('version', '=', version ?? ''))
      .where(({ and, ref }) => and(timeExpressions(range, page, { time: ref('LoadBatch.requestedAt'), key: ref('LoadBatch.id') })))
      .where(({ and, exists, not, selectFrom }) => {
        const loads = selectFrom('Load').select('Load.id').whereRef('Load.batchId', '=', 'LoadBatch.id');
        // Without the offsets, PostgreSQL reads the loads of all batches, instead of those of one until the first outside.
        const outside = loads
          .where((load) => not(deviceMatches(load.ref('Load.deviceId'), scope)))
          .limit(1)
          .offset(0);
        return and([exists(loads.limit(1).offset(0)), not(exists(outside))]);
      })
      .orderBy('requestedAt', page.order)
      .orderBy('id', page.order)
      .limit(page.limit);
    return (await batches.execute()).map(({ id }) => id);
  }

  /** Returns a load of a batch: all have the same terms. Null if the batch does not exist. */
  async anyLoad(id: string): Promise<LoadModel | null> {
    const first = this.#connection.sql
      .selectFrom('Load')
      .selectAll()
      .where('batchId', '=', id)
      .orderBy('requestedAt')
      .orderBy('id')
      .limit(1);
    return (await first.executeTakeFirst()) ?? null;
  }

  /** Counts the loads of a batch by state and outcome. */
  async countLoads(id: string): Promise<LoadCount[]> {
    const counts = await this.#connection.sql
      .selectFrom('Load')
      .select(({ fn }) => ['state', 'outcome', fn.countAll<number | bigint>().as('loads')])
      .where('batchId', '=', id)
      .groupBy(['state', 'outcome'])
      .execute();
    return counts.map((count) => ({ ...count, loads: Number(count.loads) }));
  }

  /** Returns the loads of a batch that were not sent to a host yet. */
  async queuedLoads(id: string): Promise<QueuedLoad[]> {
    return this.#queued().where('batchId', '=', id).execute();
  }

  /** Returns those of the loads that are still queued. */
  async filterQueued(loads: readonly QueuedLoad[]): Promise<QueuedLoad[]> {
    return readInChunks(
      loads.map(({ id }) => id),
      (some) => this.#queued().where('id', 'in', some).execute(),
    );
  }

  #queued() {
    return this.#connection.sql.selectFrom('Load').select(['id', 'deviceId']).where('outcome', 'is', null).where('state', '=', 'queued');
  }

  /** Returns the loads of a batch with one of these outcomes, without the devices of the batches that retried them, in the order of their identifiers. */
  async failedLoads(id: string, outcomes: readonly string[]): Promise<FailedLoad[]> {
    return this.#connection.sql
      .selectFrom('Load')
      .select(['deviceId', 'module', 'version'])
      .where('batchId', '=', id)
      .where('outcome', 'in', [...outcomes])
      .where(({ eb, selectFrom }) =>
        eb(
          'deviceId',
          'not in',
          selectFrom('LoadBatch')
            .innerJoin('Load as retried', 'retried.batchId', 'LoadBatch.id')
            .select('retried.deviceId')
            .where('LoadBatch.retryOf', '=', id),
        ),
      )
      .orderBy('id')
      .execute();
  }

  /** Returns the newest batch that retries another one. */
  async findRetryOf(id: string): Promise<LoadBatchRecord | null> {
    const retries = this.#connection.sql.selectFrom('LoadBatch').selectAll().where('retryOf', '=', id);
    return (await retries.orderBy('requestedAt', 'desc').orderBy('id', 'desc').limit(1).executeTakeFirst()) ?? null;
  }
}
