// Converts cells of SQLite, which accepts any value in any column: they are decoded as the declared column type, and encoded as Prisma's adapter does.

import type Database from 'better-sqlite3';
import { Json } from '../json.ts';
import { UndecodableCell } from '../undecodable-row.ts';

type Cells = Record<string, unknown>;
type Decode = (cell: unknown, column: string) => unknown;

/** Times are milliseconds since 1970; a string was written by another program. */
function decodeTime(cell: unknown, column: string): Date {
  const time = typeof cell === 'number' || typeof cell === 'string' ? new Date(cell) : null;
  if (time === null || Number.isNaN(time.getTime())) throw new UndecodableCell(column, 'a time');
  return time;
}

function decodeBoolean(cell: unknown, column: string): boolean {
  if (cell !== 0 && cell !== 1) throw new UndecodableCell(column, 'true or false');
  return cell === 1;
}

function decodeJson(cell: unknown, column: string): unknown {
  if (typeof cell !== 'string') throw new UndecodableCell(column, 'JSON');
  try {
    return JSON.parse(cell);
  } catch (error) {
    throw new UndecodableCell(column, 'JSON', { cause: error });
  }
}

function decodeInteger(cell: unknown, column: string): number {
  if (!Number.isSafeInteger(cell)) throw new UndecodableCell(column, 'an integer');
  return Number(cell);
}

function decodeBigInt(cell: unknown, column: string): bigint {
  if (typeof cell !== 'bigint') throw new UndecodableCell(column, 'an integer');
  return cell;
}

function decodeText(cell: unknown, column: string): string {
  if (typeof cell !== 'string') throw new UndecodableCell(column, 'a string');
  return cell;
}

function decodeBytes(cell: unknown, column: string): Uint8Array {
  if (!(cell instanceof Uint8Array)) throw new UndecodableCell(column, 'bytes');
  // The driver returns a `Buffer`, whose `slice` does not copy.
  return new Uint8Array(cell.buffer, cell.byteOffset, cell.byteLength);
}

const decoders: ReadonlyMap<string, Decode> = new Map<string, Decode>([
  ['DATETIME', decodeTime],
  ['BOOLEAN', decodeBoolean],
  ['JSONB', decodeJson],
  ['INTEGER', decodeInteger],
  ['BIGINT', decodeBigInt],
  ['TEXT', decodeText],
  ['BLOB', decodeBytes],
]);

/** A statement that returns rows. */
export type RowReader<Row> = {
  /** Returns the stored rows, not decoded. */
  readonly stored: (values: readonly unknown[]) => Row[];
  /** Decodes the cells of a row in place. @throws {UndecodableCell} */
  readonly decode: (row: Row) => Row;
};

/** Prepares a reader of a statement's rows. */
export function prepareReader<Row>(statement: Database.Statement<unknown[], Row>): RowReader<Row> {
  const columns = statement.columns().flatMap(({ name, type }) => {
    const decode = decoders.get(type ?? '');
    return decode === undefined ? [] : [{ name, decode }];
  });
  // Set only if needed: it makes every integer of the statement a `bigint`.
  const hasLargeIntegers = columns.some(({ decode }) => decode === decodeBigInt);
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

/** Converts the integers of columns other than BIGINT to numbers. */
function toNumbers(row: Cells, columns: readonly { readonly name: string; readonly decode: Decode }[]): void {
  const large = new Set(columns.flatMap(({ name, decode }) => (decode === decodeBigInt ? [name] : [])));
  for (const [name, cell] of Object.entries(row)) if (typeof cell === 'bigint' && !large.has(name)) row[name] = Number(cell);
}

function isCells(row: unknown): row is Cells {
  return typeof row === 'object' && row !== null;
}

/** Encodes a value for SQLite. */
export function encodeCell(value: unknown): unknown {
  if (value instanceof Date) return value.getTime();
  if (typeof value === 'boolean') return Number(value);
  if (value instanceof Json) return value.text;
  return Array.isArray(value) ? JSON.stringify(value) : value;
}
