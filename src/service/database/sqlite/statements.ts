// Statements on SQLite: prepared once, and run row by row on the connection that Prisma has.

import type Database from 'better-sqlite3';
import { type Change, type Found, type Given, type Query, type Statements, type Value, withParameters } from '../statements.ts';

export class SqliteStatements implements Statements {
  readonly #database: () => Database.Database;
  /** Changes as they are prepared, for a connection each. */
  readonly #changes = new WeakMap<Database.Database, WeakMap<Change, (values: readonly Value[]) => number>>();

  /** @param database Asked with each statement, for Prisma connects with its first. */
  constructor(database: () => Database.Database) {
    this.#database = database;
  }

  async each(change: Change, rows: readonly (readonly Value[])[]): Promise<number[]> {
    if (rows.length === 0) return [];
    const database = this.#database();
    const changes = this.#changes.get(database) ?? new WeakMap();
    this.#changes.set(database, changes);
    const run = changes.get(change) ?? prepareChange(database, change);
    changes.set(change, run);
    return rows.map(run);
  }

  async all<Row extends Found>(query: Query<Row>, values: readonly Value[]): Promise<Row[]> {
    const database = this.#database();
    const run = query.prepared.get(database) ?? prepareQuery(database, query);
    query.prepared.set(database, run);
    return run(values);
  }
}

function prepareChange(database: Database.Database, change: Change): (values: readonly Value[]) => number {
  const { sql, places } = parametersOf(textOf(change), change.given);
  const statement = database.prepare<Value[]>(sql);
  return (values) => statement.run(...taken(values, places)).changes;
}

function prepareQuery<Row extends Found>(database: Database.Database, { text, given }: Query<Row>): (values: readonly Value[]) => Row[] {
  const { sql, places } = parametersOf(typeof text === 'string' ? text : text.sqlite, given);
  const statement = database.prepare<Value[], Row>(sql).safeIntegers(false);
  return (values) => statement.all(...taken(values, places));
}

/** The text with its parameters as SQLite has them, and which of what is given each of them is; none where they are the same. */
function parametersOf(text: string, given: Given): { readonly sql: string; readonly places: readonly number[] } {
  const names = Object.keys(given);
  const places: number[] = [];
  const sql = withParameters(text, given, (name, type) => {
    places.push(names.indexOf(name));
    return type === 'list' ? '(SELECT value FROM json_each(?))' : '?';
  });
  const areGiven = places.length === names.length && places.every((place, index) => place === index);
  return { sql, places: areGiven ? [] : places };
}

const taken = (values: readonly Value[], places: readonly number[]) =>
  places.length === 0 ? values : places.map((place) => values[place] ?? null);

function textOf(change: Change): string {
  const { table, given } = change;
  if (change.kind === 'update') return `UPDATE "${table}" SET ${change.set} WHERE ${change.where}`;
  if (change.kind === 'delete') return `DELETE FROM "${table}" WHERE ${change.where}`;
  const names = Object.keys(given);
  const [columns, values] = [names.map((name) => `"${name}"`), names.map((name) => `:${name}`)];
  return `INSERT INTO "${table}" (${columns.join(', ')}) VALUES (${values.join(', ')}) ${change.onConflict}`;
}
