// Cells of SQLite, which takes any value in any column: read as the type that the column was declared with, and written as Prisma's adapter writes them.

import type Database from 'better-sqlite3';
import { Json } from '../json.ts';
import { UndecodableCell } from '../undecodable-row.ts';

type Cells = Record<string, unknown>;
type Decode = (cell: unknown, column: string) => unknown;

/** Times are milliseconds since 1970; a text was written by another program. */
function timeOf(cell: unknown, column: string): Date {
  const time = typeof cell === 'number' || typeof cell === 'string' ? new Date(cell) : null;
  if (time === null || Number.isNaN(time.getTime())) throw new UndecodableCell(column, 'a time');
  return time;
}

function truthOf(cell: unknown, column: string): boolean {
  if (cell !== 0 && cell !== 1) throw new UndecodableCell(column, 'true or false');
  return cell === 1;
}

function jsonOf(cell: unknown, column: string): unknown {
  if (typeof cell !== 'string') throw new UndecodableCell(column, 'JSON');
  try {
    return JSON.parse(cell);
  } catch (error) {
    throw new UndecodableCell(column, 'JSON', { cause: error });
  }
}

function integerOf(cell: unknown, column: string): number {
  if (!Number.isSafeInteger(cell)) throw new UndecodableCell(column, 'an integer');
  return Number(cell);
}

function largeIntegerOf(cell: unknown, column: string): bigint {
  if (typeof cell !== 'bigint') throw new UndecodableCell(column, 'an integer');
  return cell;
}

function textOf(cell: unknown, column: string): string {
  if (typeof cell !== 'string') throw new UndecodableCell(column, 'a text');
  return cell;
}

function bytesOf(cell: unknown, column: string): Uint8Array {
  if (!(cell instanceof Uint8Array)) throw new UndecodableCell(column, 'bytes');
  // The driver returns a `Buffer`, whose `slice` does not copy.
  return new Uint8Array(cell.buffer, cell.byteOffset, cell.byteLength);
}

const decoders: ReadonlyMap<string, Decode> = new Map<string, Decode>([
  ['DATETIME', timeOf],
  ['BOOLEAN', truthOf],
  ['JSONB', jsonOf],
  ['INTEGER', integerOf],
  ['BIGINT', largeIntegerOf],
  ['TEXT', textOf],
  ['BLOB', bytesOf],
]);

/** A statement that returns rows. */
export type RowReader<Row> = {
  /** Rows as SQLite has them. */
  readonly stored: (values: readonly unknown[]) => Row[];
  /** Gives the cells of a row the types of its columns, in place. @throws {UndecodableCell} */
  readonly decode: (row: Row) => Row;
};

/** Prepares reading the rows of a statement. */
export function prepareReader<Row>(statement: Database.Statement<unknown[], Row>): RowReader<Row> {
  const columns = statement.columns().flatMap(({ name, type }) => {
    const decode = decoders.get(type ?? '');
    return decode === undefined ? [] : [{ name, decode }];
  });
  // Only then: every integer of the statement is a `bigint`.
  const hasLargeIntegers = columns.some(({ decode }) => decode === largeIntegerOf);
  statement.safeIntegers(hasLargeIntegers);
  return {
    stored: (values) => statement.all(...values),
    decode: (row) => {
      const cells: unknown = row;
      if (!isCells(cells)) return row;
      if (hasLargeIntegers) toNumbers(cells, columns);
      for (const { name, decode } of columns) {
        const cell = cells[name];
        if (cell !== null) cells[name] = decode(cell, name);
      }
      return row;
    },
  };
}

/** Integers of columns that do not have large ones become numbers. */
function toNumbers(row: Cells, columns: readonly { readonly name: string; readonly decode: Decode }[]): void {
  const large = new Set(columns.flatMap(({ name, decode }) => (decode === largeIntegerOf ? [name] : [])));
  for (const [name, cell] of Object.entries(row)) if (typeof cell === 'bigint' && !large.has(name)) row[name] = Number(cell);
}

function isCells(row: unknown): row is Cells {
  return typeof row === 'object' && row !== null;
}

/** A value as SQLite takes it. */
export function encodeCell(value: unknown): unknown {
  if (value instanceof Date) return value.getTime();
  if (typeof value === 'boolean') return Number(value);
  if (value instanceof Json) return value.text;
  return Array.isArray(value) ? JSON.stringify(value) : value;
}
