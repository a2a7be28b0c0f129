// Copies an installation from a SQLite file to PostgreSQL. An interrupted copy can be resumed. Verifies row counts and the audit hash chain at the end.

import Database from 'better-sqlite3';
import pg from 'pg';
import type { Json } from '../../proof/canonical-json.ts';
import { type Hash, isSameHash } from '../../proof/merkle-tree.ts';
import { checkLink } from './audit-chain.ts';
import { applyMigrations as migratePostgresql } from './postgresql/migrations.ts';
import { rejectPooler } from './postgresql/pooler.ts';
import { DatabaseLock } from './sqlite/lock.ts';
import { checkForLostTransactions } from './sqlite/log-marker.ts';
import { applyMigrations as migrateSqlite } from './sqlite/migrations.ts';

/** Maximum rows and bytes per insert. */
const batchLimits = { rows: 1_000, bytes: 8 * 1024 * 1024 } as const;
/** Events per query while the hash chain is verified. */
const eventBatchSize = 1_000;

/** Progress of a copy: a table (with the number of rows that were copied earlier), the totals, and the verified hash chain. */
export type CopyProgress =
  | { readonly kind: 'table'; readonly table: string; readonly rows: number; readonly had: number }
  | { readonly kind: 'counts'; readonly tables: number; readonly rows: number }
  | { readonly kind: 'chain'; readonly events: number };

/** The copy failed, or differs from its source; the message says why and what to do. */
export class CopyError extends Error {
  override readonly name = 'CopyError';
}

/** Tables that others refer to, in dependency order. */
const firstTables = ['Image', 'Build', 'PatchSet', 'Host', 'Device', 'Load', 'User'];
/** The table of the audit head. Migrations create its row; the copy replaces it at the end. */
const head = 'AuditHead';
/** Tables with a number sequence that must continue. */
const numberedTables = ['HistoryEntry', 'AbiViolation', 'AgentOrder'];

type Row = Readonly<Record<string, unknown>>;
type Column = { readonly name: string; readonly type: string };

/**
 * Copies all tables. From the start of the copy, no service may write to the file.
 * @param from A SQLite file; pending migrations are applied to it.
 * @param to The URL of a database that is empty or contains an incomplete copy of this file.
 * @throws {CopyError} {MigrationError} {PoolerError} {DatabaseInUse} if a service has the file open. {TransactionsLost} if the file lost transactions.
 */
export async function copyDatabase(from: string, to: string, onProgress: (progress: CopyProgress) => void): Promise<void> {
  const lock = DatabaseLock.acquire(from);
  try {
    checkForLostTransactions(from);
    await copyLocked(from, to, onProgress);
  } finally {
    lock.release();
  }
}

async function copyLocked(from: string, to: string, onProgress: (progress: CopyProgress) => void): Promise<void> {
  await rejectPooler(to);
  migrateSqlite(from);
  await migratePostgresql(to);
  const source = new Database(from, { fileMustExist: true });
  const target = new pg.Client({ connectionString: to });
  await target.connect();
  try {
    // Prevents writes during the copy: a service that has the file open gets SQLITE_BUSY.
    source.pragma('locking_mode = EXCLUSIVE');
    source.exec('BEGIN EXCLUSIVE');
    await prepareTarget(source, target);
    let rows = 0;
    const tables = tablesOf(source);
    for (const table of tables) rows += await copyTable(source, target, table, onProgress);
    await copyHead(source, target);
    for (const table of numberedTables)
      await target.query(`SELECT setval(pg_get_serial_sequence('"${table}"', 'number'), $1)`, [Math.max(1, lastNumberOf(source, table))]);
    onProgress({ kind: 'counts', tables: tables.length, rows });
    onProgress({ kind: 'chain', events: await checkChain(target) });
    await target.query('DROP TABLE patchbay_copy');
    await target.query('ANALYZE');
  } finally {
    if (source.inTransaction) source.exec('ROLLBACK');
    source.close();
    await target.end();
  }
}

/** Marks the target as a copy of this source. @throws {CopyError} if the target contains anything but an incomplete copy of it. */
async function prepareTarget(source: Database.Database, target: pg.Client): Promise<void> {
  const [origin] = source.prepare<[], { keyId: string }>('SELECT "keyId" FROM "SigningKey" ORDER BY "createdAt", "id" LIMIT 1').all();
  const name = origin?.keyId ?? 'without a key';
  const { rows: existing } = await target.query<{ name: string }>(
    `SELECT "tablename" AS name FROM pg_tables WHERE "schemaname" = current_schema() AND "tablename" = 'patchbay_copy'`,
  );
  if (existing.length > 0) {
    const { rows } = await target.query<{ origin: string }>('SELECT origin FROM patchbay_copy');
    if (rows[0]?.origin !== name)
      throw new CopyError('the target contains an incomplete copy of another installation: use an empty database');
    return;
  }
  for (const table of tablesOf(source)) {
    const { rows } = await target.query(`SELECT 1 FROM "${table}" LIMIT 1`);
    if (rows.length > 0) throw new CopyError(`the target is not empty (table ${table}): use an empty database`);
  }
  await target.query('CREATE TABLE patchbay_copy (origin text NOT NULL)');
  await target.query('INSERT INTO patchbay_copy VALUES ($1)', [name]);
}

/** Returns all tables except the audit head and tables of tools, ordered so that no table refers to a later one. */
function tablesOf(source: Database.Database): string[] {
  const names = source
    .prepare<[], { name: string }>(
      `SELECT "name" FROM sqlite_master WHERE "type" = 'table' AND "name" NOT LIKE '\\_%' ESCAPE '\\' AND "name" NOT LIKE 'sqlite%' ORDER BY "name"`,
    )
    .all()
    .map(({ name }) => name)
    .filter((name) => name !== head);
  return [...firstTables, ...names.filter((name) => !firstTables.includes(name))];
}

/** Copies the rows that are missing in the target, and returns the number of rows. @throws {CopyError} */
async function copyTable(
  source: Database.Database,
  target: pg.Client,
  table: string,
  onProgress: (progress: CopyProgress) => void,
): Promise<number> {
  const columns = await columnsOf(target, table);
  const names = columns.map(({ name }) => `"${name}"`).join(', ');
  const countOf = async () => Number((await target.query<{ rows: string }>(`SELECT COUNT(*) AS rows FROM "${table}"`)).rows[0]?.rows);
  const rows = source.prepare<[], { rows: number }>(`SELECT COUNT(*) AS rows FROM "${table}"`).get()?.rows ?? 0;
  const had = await countOf();
  onProgress({ kind: 'table', table, rows, had });
  // Rows are copied in rowid order, in transactions: the rows in the target are the first ones.
  const next = source.prepare<[number, number], Row>(
    `SELECT rowid AS ":row", ${names} FROM "${table}" WHERE rowid > ? ORDER BY rowid LIMIT ?`,
  );
  const skipped = source
    .prepare<[number], { row: number }>(`SELECT rowid AS row FROM "${table}" ORDER BY rowid LIMIT 1 OFFSET ?`)
    .get(Math.max(0, had - 1));
  let last = had === 0 ? Number.MIN_SAFE_INTEGER : (skipped?.row ?? Number.MAX_SAFE_INTEGER);
  for (let batch = next.all(last, batchLimits.rows); batch.length > 0; batch = next.all(last, batchLimits.rows)) {
    for (const chunk of chunksByBytes(batch)) {
      const values = chunk.map((row) => Object.fromEntries(columns.map(({ name, type }) => [name, toJsonValue(row[name], type)])));
      try {
        await target.query(`INSERT INTO "${table}" (${names}) SELECT ${names} FROM json_populate_recordset(NULL::"${table}", $1::json)`, [
          JSON.stringify(values),
        ]);
      } catch (error) {
        throw new CopyError(`cannot copy rows of ${table} after rowid ${last}: ${String(error)}`);
      }
      last = Number(chunk.at(-1)?.[':row']);
    }
  }
  const copied = await countOf();
  if (copied !== rows)
    throw new CopyError(`row count of ${table} differs: expected ${rows}, found ${copied} in the target; empty the target and start again`);
  return rows;
}

function chunksByBytes(rows: readonly Row[]): Row[][] {
  const chunks: Row[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const row of rows) {
    const size = Object.values(row).reduce<number>(
      (sum, value) => sum + (value instanceof Uint8Array ? 2 * value.length : String(value).length),
      0,
    );
    if (bytes + size > batchLimits.bytes) {
      chunks.push([]);
      bytes = 0;
    }
    chunks.at(-1)?.push(row);
    bytes += size;
  }
  return chunks;
}

async function columnsOf(target: pg.Client, table: string): Promise<Column[]> {
  const { rows } = await target.query<Column>(
    `SELECT column_name AS name, data_type AS type FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position`,
    [table],
  );
  return rows;
}

/** Converts a SQLite value to JSON for a PostgreSQL column of this type. */
function toJsonValue(value: unknown, type: string): unknown {
  if (value === null) return null;
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  if (type.startsWith('timestamp')) return new Date(Number(value)).toISOString();
  if (type === 'boolean') return value !== 0;
  if (type === 'jsonb') return JSON.parse(String(value));
  return value;
}

async function copyHead(source: Database.Database, target: pg.Client): Promise<void> {
  const row = source.prepare<[], { number: number; hash: Uint8Array; at: number; prunedThrough: number }>(`SELECT * FROM "${head}"`).get();
  if (row === undefined) throw new CopyError('the row of the audit head is missing: restore the file from a backup');
  await target.query(`UPDATE "${head}" SET "number" = $1, "hash" = $2, "at" = $3, "prunedThrough" = $4`, [
    row.number,
    row.hash,
    new Date(row.at).toISOString(),
    row.prunedThrough,
  ]);
}

/** Returns the highest number that was ever assigned, including those of deleted rows. */
function lastNumberOf(source: Database.Database, table: string): number {
  return source.prepare<[string], { seq: number }>('SELECT seq FROM sqlite_sequence WHERE name = ?').get(table)?.seq ?? 0;
}

/** Recomputes every hash of the audit trail from the rows in PostgreSQL, and returns the number of events. @throws {CopyError} */
async function checkChain(target: pg.Client): Promise<number> {
  const { rows: heads } = await target.query<{ number: number; hash: Hash; prunedThrough: number }>(`SELECT * FROM "${head}"`);
  const [end] = heads;
  if (end === undefined) throw new CopyError('the row of the audit head is missing');
  let [last, previous, events]: [number, Hash | null, number] = [end.prunedThrough, null, 0];
  while (last < end.number) {
    const { rows } = await target.query<EventRow>(
      `SELECT *, ("at" AT TIME ZONE 'UTC') AS "moment" FROM "AuditEvent" WHERE "number" > $1 ORDER BY "number" LIMIT $2`,
      [last, eventBatchSize],
    );
    for (const { moment, ...row } of rows) {
      const event = { ...row, at: moment, previous: new Uint8Array(row.previous), hash: new Uint8Array(row.hash) };
      if (checkLink(event, { number: last, hash: previous }) !== null) throw new CopyError(brokenAt(last + 1));
      [last, previous, events] = [event.number, event.hash, events + 1];
    }
    if (rows.length === 0) throw new CopyError(brokenAt(last + 1));
  }
  if (previous !== null && !isSameHash(previous, new Uint8Array(end.hash))) throw new CopyError(brokenAt(last));
  return events;
}

type EventRow = {
  readonly number: number;
  readonly moment: Date;
  readonly actor: string;
  readonly action: string;
  readonly object: string;
  readonly outcome: string;
  readonly requestId: string | null;
  readonly detail: Json;
  readonly previous: Uint8Array;
  readonly hash: Uint8Array;
};

const brokenAt = (number: number) => `event ${number} of the audit trail has been altered: run patchbay audit verify on the original`;
