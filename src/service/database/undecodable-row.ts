// Stored rows that cannot be decoded: SQLite accepts any value in any column. Recognizes all such errors.

import { Prisma } from './generated/client.ts';
import type { Tables } from './tables.ts';
import { findUnavailability } from './unavailable.ts';

/** Prisma error codes: value out of range, inconsistent column data, value cannot be converted. */
const codes: ReadonlySet<string> = new Set(['P2020', 'P2023', 'P2032']);
/** Maximum length of a fault description, in characters. */
const maxFaultLength = 300;

/** The location of a row: its table, by its name in the Prisma client, and its key. */
export type RowLocation = { readonly model: string; readonly where: Readonly<Record<string, unknown>> };

/** The kind of a table's rows, and the key columns. */
export type RowKind = { readonly kind: string; readonly table: keyof Tables; readonly key: readonly string[] };

/** A row that cannot be decoded; only its key is known. */
export class UndecodableRow {
  /** The kind of the row, as the fleet health shows it, for example `load`. */
  readonly kind: string;
  readonly id: string;
  readonly fault: string;
  /** Null if it is not a single row of a table. */
  readonly location: RowLocation | null;
  /**
   * The sort value of the row; if it cannot be decoded either, a value before or after all others. Null if only undecodable rows follow.
   */
  readonly sortedBy: Date | number | string | null;

  constructor(name: RowName, error: unknown, sortedBy: UndecodableRow['sortedBy']) {
    this.kind = name.kind;
    this.id = name.id;
    this.location = name.location;
    this.fault = describeDecodeError(error);
    this.sortedBy = sortedBy;
  }
}

export type RowName = Pick<UndecodableRow, 'kind' | 'id' | 'location'>;

/** A value that does not have the type of its column. */
export class UndecodableCell extends Error {
  override readonly name = 'UndecodableCell';

  /** @param expected The type of the column, with an article. */
  constructor(column: string, expected: string, options?: ErrorOptions) {
    super(`The value in column '${column}' is not ${expected}`, options);
  }
}

/** Returns whether a read failed because a row cannot be decoded, and not because the database is unavailable. */
export function isDecodeError(error: unknown): boolean {
  if (error instanceof UndecodableCell) return true;
  if (findUnavailability(error) !== null) return false;
  if (error instanceof Prisma.PrismaClientKnownRequestError) return codes.has(error.code);
  // Decoders of JSON, dates and large integers throw these; errors of a request have a status.
  if (typeof error === 'object' && error !== null && 'statusCode' in error) return false;
  if (error instanceof SyntaxError) return /JSON|BigInt/.test(error.message);
  return error instanceof RangeError && /time value|date|BigInt/i.test(error.message);
}

/** Describes why a row cannot be decoded, without the query that Prisma prepends. */
export function describeDecodeError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (message.trim().split('\n').at(-1) ?? message).slice(0, maxFaultLength);
}

/** Returns the row. @throws {UndecodableCell} if one of its times is invalid. */
export function checkDates<Row extends object>(row: Row): Row {
  for (const [column, cell] of Object.entries(row))
    if (cell instanceof Date && Number.isNaN(cell.getTime())) throw new UndecodableCell(column, 'a time');
  return row;
}

/** Decodes a row; if that fails, reports the row and returns a marker in its place. */
export function decodeOrMark<Row extends object>(
  row: Row,
  decode: (row: Row) => Row,
  { kind, table, key }: RowKind,
  onUndecodable: (row: UndecodableRow) => void,
): Row | UndecodableRow {
  try {
    return decode(row);
  } catch (error) {
    if (!isDecodeError(error)) throw error;
    const where = Object.fromEntries(Object.entries(row).filter(([column]) => key.includes(column)));
    const id = key.map((column) => String(where[column])).join('/');
    const mark = new UndecodableRow(
      { kind, id, location: { model: `${table.slice(0, 1).toLowerCase()}${table.slice(1)}`, where } },
      error,
      null,
    );
    onUndecodable(mark);
    return mark;
  }
}
