// Statements on PostgreSQL: each is sent once for all of its rows, which are one parameter.

import pg from 'pg';
import { type Change, type Found, type Given, type Query, type Statements, type Type, type Value, withParameters } from '../statements.ts';

/** Sends a statement, after those that were sent before it, and answers what came of it. */
export type Run = <Row extends Found>(query: pg.QueryConfig) => Promise<pg.QueryResult<Row>>;

export class PostgresqlStatements implements Statements {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  async each(change: Change, rows: readonly (readonly Value[])[]): Promise<number[]> {
    if (rows.length === 0) return [];
    const types = Object.values(change.given);
    const parameter = JSON.stringify(rows.map((row) => types.map((type, index) => sent(row[index] ?? null, type))));
    if (change.kind === 'insert') {
      await this.#run({ ...preparedOf(change, changeText), values: [parameter] });
      return rows.map(() => 1);
    }
    const changed = await this.#run<{ place: number }>({ ...preparedOf(change, changeText), values: [parameter] });
    const counts = rows.map(() => 0);
    for (const { place } of changed.rows) counts[place - 1] = (counts[place - 1] ?? 0) + 1;
    return counts;
  }

  async all<Row extends Found>(query: Query<Row>, values: readonly Value[]): Promise<Row[]> {
    const types = Object.values(query.given);
    const parameters = types.map((type, index) => sent(values[index] ?? null, type));
    return (await this.#run<Row>({ ...preparedOf(query, queryText), values: parameters })).rows;
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

const { builtins } = pg.types;
/** Values in the form that statements answer in, by the types of PostgreSQL. The others are texts: so is JSON. */
const answered = new Map<number, (text: string) => unknown>([
  [builtins.INT2, Number],
  [builtins.INT4, Number],
  [builtins.INT8, Number],
  [builtins.FLOAT8, Number],
  [builtins.BOOL, (text) => (text === 't' ? 1 : 0)],
  [builtins.TIMESTAMP, (text) => Date.parse(`${text.replace(' ', 'T')}Z`)],
  [builtins.BYTEA, (text) => Buffer.from(text.slice(2), 'hex')],
]);
/** Reads what is answered, as a connection or a statement of the driver is told. */
export const answeredTypes = { getTypeParser: (type: number) => answered.get(type) ?? String };

/** The rows given: their columns have the colon in their names, as they have in the statement, and so are no others. */
const rowsOf = (given: Given) => {
  const columns = Object.entries(given).map(([name, type], index) => `${cast(`"row" ->> ${index}`, type)} AS ":${name}"`);
  return `(SELECT "place", ${columns.join(', ')} FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS "rows" ("row", "place"))`;
};

/** A statement as it is sent, and the name by which a connection keeps it prepared, which takes longer than carrying it out. */
type Prepared = { readonly name: string; readonly text: string; readonly types: typeof answeredTypes };

/** Each is written once. There are as many as the program has, and no text has a value in it. */
const prepared = new WeakMap<object, Prepared>();
let count = 0;

function preparedOf<One extends object>(statement: One, write: (statement: One) => string): Prepared {
  const known = prepared.get(statement);
  if (known !== undefined) return known;
  count += 1;
  const made = { name: `statement-${count}`, text: write(statement), types: answeredTypes };
  prepared.set(statement, made);
  return made;
}

function queryText({ text, given }: Pick<Query<Found>, 'text' | 'given'>): string {
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
