// Reads and deletes ended loads that are expired.

import type { Connection } from '../database/connection.ts';

export type EndedLoad = { readonly id: string; readonly requestedAt: Date };

export class LoadPruningRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Returns ended loads after an identifier, in ascending order. */
  async endedAfter(id: string, limit: number): Promise<EndedLoad[]> {
    return this.#connection.sql
      .selectFrom('Load')
      .select(['id', 'requestedAt'])
      .where('id', '>', id)
      .where('outcome', 'is not', null)
      .orderBy('id')
      .limit(limit)
      .execute();
  }

  /** Returns ended loads with a report after an identifier, in ascending order. */
  async reportsAfter(id: string, limit: number): Promise<EndedLoad[]> {
    return this.#connection.sql
      .selectFrom('LoadReport')
      .innerJoin('Load', 'Load.id', 'LoadReport.loadId')
      .select(['Load.id', 'Load.requestedAt'])
      .where('LoadReport.loadId', '>', id)
      .where('Load.outcome', 'is not', null)
      .orderBy('LoadReport.loadId')
      .limit(limit)
      .execute();
  }

  /** Returns the newest load that is not among a number of newest ones; null if there are not so many. */
  async lastLoadBeyond(number: number): Promise<string | null> {
    const load = await this.#connection.sql
      .selectFrom('Load')
      .select('id')
      .orderBy('id', 'desc')
      .offset(number)
      .limit(1)
      .executeTakeFirst();
    return load?.id ?? null;
  }

  /** Returns the newest load whose report is not among a number of newest ones; null if there are not so many. */
  async lastReportBeyond(number: number): Promise<string | null> {
    const reports = this.#connection.sql.selectFrom('LoadReport').select('loadId').orderBy('loadId', 'desc');
    return (await reports.offset(number).limit(1).executeTakeFirst())?.loadId ?? null;
  }

  /** @param ids At most 500. */
  async deleteReports(ids: readonly string[]): Promise<void> {
    await this.#connection.sql.deleteFrom('LoadReport').where('loadId', 'in', ids).execute();
  }

  /**
   * Deletes those of these loads that nothing needs: no residency names them, no order of them waits for a host, and their rollout has ended.
   * @param ids At most 500.
   * @returns The identifiers of the deleted loads, in ascending order.
   */
  async deleteUnused(ids: readonly string[]): Promise<string[]> {
    const { sql } = this.#connection;
    const unused = await sql
      .selectFrom('Load')
      .select(['id', 'batchId'])
      .where('id', 'in', ids)
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('HistoryEntry')
              .select('number')
              .whereRef('HistoryEntry.deviceId', '=', 'Load.deviceId')
              .where(({ or, eb }) =>
                or([eb('HistoryEntry.loadId', '=', eb.ref('Load.id')), eb('HistoryEntry.replacedByLoadId', '=', eb.ref('Load.id'))]),
              ),
          ),
        ),
      )
      .where(({ not, exists, selectFrom }) =>
        not(exists(selectFrom('AgentOrder').select('number').whereRef('AgentOrder.loadId', '=', 'Load.id'))),
      )
      .where(({ not, exists, selectFrom }) =>
        not(exists(selectFrom('Rollout').select('id').whereRef('Rollout.id', '=', 'Load.rolloutId').where('endedAt', 'is', null))),
      )
      .orderBy('id')
      .execute();
    if (unused.length === 0) return [];
    const removed = unused.map(({ id }) => id);
    await this.deleteReports(removed);
    await sql.deleteFrom('Load').where('id', 'in', removed).execute();
    await this.#deleteEmptyBatches([...new Set(unused.map(({ batchId }) => batchId))]);
    return removed;
  }

  async #deleteEmptyBatches(ids: readonly string[]): Promise<void> {
    await this.#connection.sql
      .deleteFrom('LoadBatch')
      .where('id', 'in', ids)
      .where(({ not, exists, selectFrom }) => not(exists(selectFrom('Load').select('id').whereRef('Load.batchId', '=', 'LoadBatch.id'))))
      .execute();
  }
}
