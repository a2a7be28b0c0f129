// Findings of the ABI test: programs that held on to the addresses of code that had gone.

import type { Connection } from '../database/connection.ts';
import type { AbiViolationModel } from '../database/generated/models.ts';
import { RowStatement } from '../database/prepared-statements.ts';
import { withoutMarks } from '../database/readable-rows.ts';

export type NewAbiViolation = Omit<AbiViolationModel, 'number'>;

/** What identifies a violation in one boot; the faults are null where they cannot be decoded. */
export type KnownViolation = Pick<AbiViolationModel, 'number' | 'programId' | 'version' | 'address'> & { readonly faults: bigint | null };

/** How often a program has faulted by now. */
export type FaultUpdate = { readonly number: number; readonly faults: number; readonly lastFaultAt: Date };

/** Violations kept of a device: more than one state tells of, so that none of them is forgotten while it is told of. */
const retainedPerDevice = 2_000;

/** How lists call a violation. */
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

const updateFaultCount = new RowStatement({ faults: 'bigint', lastFaultAt: 'time', number: 'integer' }, (sql, { number, ...more }) =>
  sql.updateTable('AbiViolation').set(more).where('number', '=', number),
);

export class AbiViolationRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Those of one device in one boot of its host. */
  async findByBoot(deviceId: string, bootId: string): Promise<KnownViolation[]> {
    const violations = this.#connection.sql.selectFrom('AbiViolation').where('deviceId', '=', deviceId).where('bootId', '=', bootId);
    const known = await violations.select(['number', 'programId', 'version', 'address']).execute();
    const counted = withoutMarks(await this.#connection.queryReadable(violations.select(['number', 'faults']), violationRow));
    const faults = new Map(counted.map((row) => [row.number, row.faults]));
    return known.map((row) => ({ ...row, faults: faults.get(row.number) ?? null }));
  }

  /** Adds violations of one device; of more than may be kept, those whose last faults are the longest ago are forgotten. */
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

  /** Counts faults: each may have more with every state. */
  async updateFaults(more: readonly FaultUpdate[]): Promise<void> {
    await this.#connection.executeForRows(
      updateFaultCount,
      more.map(({ faults, ...violation }) => ({ ...violation, faults: BigInt(faults) })),
    );
  }
}
