// Rows that the database keeps, but that cannot be decoded: SQLite takes any value in any column. Every such failure is recognised here.

import { Prisma } from './generated/client.ts';
import type { Tables } from './tables.ts';
import { findUnavailability } from './unavailable.ts';

/** Codes of Prisma: a value is out of range, a column's data is inconsistent, a value cannot be converted. */
const codes: ReadonlySet<string> = new Set(['P2020', 'P2023', 'P2032']);
/** Characters of why a row cannot be read. */
const faultLength = 300;

/** Where a row is: its table, as Prisma names it, and its key. */
export type RowLocation = { readonly model: string; readonly where: Readonly<Record<string, unknown>> };

/** What a row is called, and the columns of its key. */
export type RowKind = { readonly kind: string; readonly table: keyof Tables; readonly key: readonly string[] };

/** A row of which nothing but its key can be read. */
export class UnreadableRow {
  /** What the row is, as the health of the fleet names it: `load`. */
  readonly kind: string;
  readonly id: string;
  readonly fault: string;
  /** Null where it is not one row of a table. */
  readonly location: RowLocation | null;
  /**
   * The value of the column by which the list is sorted; where it cannot be decoded either, a value before or after all others. Null: only rows that
   * cannot be decoded follow.
   */
  readonly sortedBy: Date | number | string | null;

  constructor(name: RowName, error: unknown, sortedBy: UnreadableRow['sortedBy']) {
    this.kind = name.kind;
    this.id = name.id;
    this.location = name.location;
    this.fault = describeDecodeError(error);
    this.sortedBy = sortedBy;
  }
}

export type RowName = Pick<UnreadableRow, 'kind' | 'id' | 'location'>;

/** A value that is not of the type of its column. */
export class UndecodableCell extends Error {
  override readonly name = 'UndecodableCell';

  /** @param expected What the column has, with an article. */
  constructor(column: string, expected: string, options?: ErrorOptions) {
    super(`The value in column '${column}' is not ${expected}`, options);
  }
}

/** Whether a read failed because a row cannot be decoded, and not because the database cannot be used. */
export function isDecodeError(error: unknown): boolean {
  if (error instanceof UndecodableCell) return true;
  if (findUnavailability(error) !== null) return false;
  if (error instanceof Prisma.PrismaClientKnownRequestError) return codes.has(error.code);
  // What decodes JSON, dates and large integers throws these; one of a request has a status.
  if (typeof error === 'object' && error !== null && 'statusCode' in error) return false;
  if (error instanceof SyntaxError) return /JSON|BigInt/.test(error.message);
  return error instanceof RangeError && /time value|date|BigInt/i.test(error.message);
}

/** Why a row cannot be read, without the query that Prisma puts before it. */
export function describeDecodeError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (message.trim().split('\n').at(-1) ?? message).slice(0, faultLength);
}

/** Returns the row. @throws {UndecodableCell} where a date of it is none. */
export function checkDates<Row extends object>(row: Row): Row {
  for (const [column, cell] of Object.entries(row))
    if (cell instanceof Date && Number.isNaN(cell.getTime())) throw new UndecodableCell(column, 'a time');
  return row;
}

/** The row with its cells decoded; a mark in its place, of which is told, where one cannot be decoded. */
export function decodeOrMark<Row extends object>(
  row: Row,
  decode: (row: Row) => Row,
  { kind, table, key }: RowKind,
  onUnreadable: (row: UnreadableRow) => void,
): Row | UnreadableRow {
  try {
    return decode(row);
  } catch (error) {
    if (!isDecodeError(error)) throw error;
    const where = Object.fromEntries(Object.entries(row).filter(([column]) => key.includes(column)));
    const id = key.map((column) => String(where[column])).join('/');
    const mark = new UnreadableRow(
      { kind, id, location: { model: `${table.slice(0, 1).toLowerCase()}${table.slice(1)}`, where } },
      error,
      null,
    );
    onUnreadable(mark);
    return mark;
  }
}
