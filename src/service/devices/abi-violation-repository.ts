// ABI violations: programs that called removed code at a stale address.

import type { Connection } from '../database/connection.ts';
import type { AbiViolationModel } from '../database/generated/models.ts';
import { RowStatement } from '../database/prepared-statements.ts';
import { withoutMarks } from '../database/readable-rows.ts';

export type NewAbiViolation = Omit<AbiViolationModel, 'number'>;

/** Identifies a violation within one boot. `faults` is null if the column cannot be decoded. */
export type KnownViolation = Pick<AbiViolationModel, 'number' | 'programId' | 'version' | 'address'> & { readonly faults: bigint | null };

/** The current number of faults of a violation. */
export type FaultUpdate = { readonly number: number; readonly faults: number; readonly lastFaultAt: Date };

/** Violations stored per device: more than one state reports, so that no violation is deleted while the device still reports it. */
const retainedPerDevice = 2_000;

/** How error messages name a row. */
const violationRow = { kind: 'ABI violation', table: 'AbiViolation', key: ['number'] } as const;

const insertViolation = new RowStatement(
  {
    deviceId: 'text',
    bootId: 'text',
    programId: 'text',
    programName: 'text',
    module: 'text',
    version: 'text',
    address: 'text',
    page: 'integer',
    flag: 'text',
    firstFaultAt: 'time',
    lastFaultAt: 'time',
    faults: 'bigint',
  },
  (sql, violation) => sql.insertInto('AbiViolation').values(violation),
);

const updateFaultCount = new RowStatement({ faults: 'bigint', lastFaultAt: 'time', number: 'integer' }, (sql, { number, ...values }) =>
  sql.updateTable('AbiViolation').set(values).where('number', '=', number),
);

export class AbiViolationRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Returns the violations of a device in one boot of its host. */
  async findByBoot(deviceId: string, bootId: string): Promise<KnownViolation[]> {
    const violations = this.#connection.sql.selectFrom('AbiViolation').where('deviceId', '=', deviceId).where('bootId', '=', bootId);
    const known = await violations.select(['number', 'programId', 'version', 'address']).execute();
    const counted = withoutMarks(await this.#connection.queryReadable(violations.select(['number', 'faults']), violationRow));
    const faults = new Map(counted.map((row) => [row.number, row.faults]));
    return known.map((row) => ({ ...row, faults: faults.get(row.number) ?? null }));
  }

  /** Adds violations of one device. Above the limit per device, deletes those with the oldest last fault. */
  async create(deviceId: string, violations: readonly NewAbiViolation[]): Promise<void> {
    await this.#connection.executeForRows(insertViolation, violations);
    const { sql } = this.#connection;
    const newest = sql
      .selectFrom('AbiViolation')
      .select('number')
      .where('deviceId', '=', deviceId)
      .orderBy('lastFaultAt', 'desc')
      .orderBy('number', 'desc')
      .limit(retainedPerDevice);
    await sql.deleteFrom('AbiViolation').where('deviceId', '=', deviceId).where('number', 'not in', newest).execute();
  }

  /** Updates the fault count and the time of the last fault. */
  async updateFaults(updates: readonly FaultUpdate[]): Promise<void> {
    await this.#connection.executeForRows(
      updateFaultCount,
      updates.map(({ faults, ...violation }) => ({ ...violation, faults: BigInt(faults) })),
    );
  }
}
