// Statements on PostgreSQL: each is sent once for all of its rows, which are one parameter.

import type { Prisma } from '../generated/client.ts';
import { type Change, type Given, type Query, type Statements, type Type, type Value, withParameters } from '../statements.ts';

export class PostgresqlStatements implements Statements {
  readonly #client: Prisma.TransactionClient;

  constructor(client: Prisma.TransactionClient) {
    this.#client = client;
  }

  async each(change: Change, rows: readonly (readonly Value[])[]): Promise<number[]> {
    if (rows.length === 0) return [];
    const types = Object.values(change.given);
    const parameter = JSON.stringify(rows.map((row) => types.map((type, index) => sent(row[index] ?? null, type))));
    if (change.kind === 'insert') {
      await this.#client.$executeRawUnsafe(sqlOf(change, changeText), parameter);
      return rows.map(() => 1);
    }
    const changed = await this.#client.$queryRawUnsafe<{ place: bigint }[]>(sqlOf(change, changeText), parameter);
    const counts = rows.map(() => 0);
    for (const { place } of changed) counts[Number(place) - 1] = (counts[Number(place) - 1] ?? 0) + 1;
    return counts;
  }

  async all<Found>(query: Query<Found>, values: readonly Value[]): Promise<Found[]> {
    const types = Object.values(query.given);
    const parameters = types.map((type, index) => sent(values[index] ?? null, type));
    const rows = await this.#client.$queryRawUnsafe<Found[]>(sqlOf(query, queryText), ...parameters);
    for (const row of rows) if (typeof row === 'object' && row !== null) Object.assign(row, answeredRow(Object.entries(row)));
    return rows;
  }
}

const columnTypes = { text: 'text', integer: 'bigint', time: 'timestamp', truth: 'boolean', json: 'jsonb', list: 'jsonb' } as const;

function cast(text: string, type: Type): string {
  return type === 'bytes' ? `decode(${text}, 'hex')` : `(${text})::${columnTypes[type]}`;
}

/** A value as it is sent: what JSON cannot say as a text. */
function sent(value: Value, type: Type): string | number | boolean | null {
  if (value === null) return null;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (type === 'time') return new Date(value).toISOString();
  return type === 'truth' ? value !== 0 : value;
}

function answeredRow(entries: readonly [string, unknown][]): Record<string, unknown> {
  return Object.fromEntries(entries.map(([name, value]) => [name, answered(value)]));
}

/** A value that was answered, in the form that statements answer in. */
function answered(value: unknown): unknown {
  if (value === null || value instanceof Uint8Array) return value;
  if (value instanceof Date) return value.getTime();
  if (typeof value === 'bigint' || typeof value === 'boolean') return Number(value);
  return typeof value === 'object' ? JSON.stringify(value) : value;
}

/** The rows given: their columns have the colon in their names, as they have in the statement, and so are no others. */
const rowsOf = (given: Given) => {
  const columns = Object.entries(given).map(([name, type], index) => `${cast(`"row" ->> ${index}`, type)} AS ":${name}"`);
  return `(SELECT "place", ${columns.join(', ')} FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS "rows" ("row", "place"))`;
};

/** Statements as they are sent: each is written once. */
const written = new WeakMap<object, string>();
/** What they are called, by their texts. There are as many as the program has, and no text has a value in it. */
const names = new Map<string, string>();

function sqlOf<One extends Change | Query<unknown>>(statement: One, write: (statement: One) => string): string {
  const known = written.get(statement);
  if (known !== undefined) return known;
  const sql = write(statement);
  written.set(statement, sql);
  names.set(sql, names.get(sql) ?? `statement-${names.size + 1}`);
  return sql;
}

/** The name by which a connection keeps a statement prepared, which takes longer than carrying it out; empty, and prepared anew each time, where it is none of these. */
export const nameOfStatement = ({ sql }: { readonly sql: string }): string => names.get(sql) ?? '';

function queryText({ text, given }: Query<unknown>): string {
  const parameters = Object.keys(given);
  // As an array, each of a list is looked up in an index; as rows that are joined, all of a table may be read for one.
  const sql = (typeof text === 'string' ? text : text.postgresql).replaceAll(/ IN (?=:)/g, ' = ANY ');
  return withParameters(sql, given, (name, type) => {
    const parameter = `$${parameters.indexOf(name) + 1}`;
    return type === 'list' ? `(ARRAY(SELECT jsonb_array_elements_text(${parameter}::jsonb)))` : cast(parameter, type);
  });
}

function changeText(change: Change): string {
  const { table, given } = change;
  const inText = (text: string) => withParameters(text, given, (name) => `"given".":${name}"`);
  const rows = `${rowsOf(given)} AS "given"`;
  if (change.kind === 'update')
    return `UPDATE "${table}" SET ${inText(change.set)} FROM ${rows} WHERE ${inText(change.where)} RETURNING "given"."place"`;
  if (change.kind === 'delete') return `DELETE FROM "${table}" USING ${rows} WHERE ${inText(change.where)} RETURNING "given"."place"`;
  const inserted = Object.keys(given);
  const columns = inserted.map((name) => `"${name}"`).join(', ');
  const values = inserted.map((name) => `":${name}"`).join(', ');
  return `INSERT INTO "${table}" (${columns}) SELECT ${values} FROM ${rows} ORDER BY "place" ${change.onConflict}`;
}
