// Rows that the database keeps, but that cannot be decoded: SQLite takes any value in any column. Every such failure is recognised here.

import { Prisma } from './generated/client.ts';
import { unavailabilityOf } from './unavailable.ts';

/** Codes of Prisma: a value is out of range, a column's data is inconsistent, a value cannot be converted. */
const codes: ReadonlySet<string> = new Set(['P2020', 'P2023', 'P2032']);
/** Characters of why a row cannot be read. */
const faultLength = 300;

/** A row of which nothing but its key can be read. */
export class UnreadableRow<Position> {
  readonly id: string;
  readonly fault: string;
  /** Where the list goes on after it; null where nothing but rows that cannot be read come after it. */
  readonly position: Position | null;

  constructor(id: string, error: unknown, position: Position | null) {
    this.id = id;
    this.fault = unreadableFault(error);
    this.position = position;
  }
}

/** Whether a read failed because a row cannot be decoded, and not because the database cannot be used. */
export function isUnreadable(error: unknown): boolean {
  if (unavailabilityOf(error) !== null) return false;
  if (error instanceof Prisma.PrismaClientKnownRequestError) return codes.has(error.code);
  // What decodes JSON, dates and large integers throws these; one of a request has a status.
  if (typeof error === 'object' && error !== null && 'statusCode' in error) return false;
  if (error instanceof SyntaxError) return /JSON|BigInt/.test(error.message);
  return error instanceof RangeError && /time value|date|BigInt/i.test(error.message);
}

/** Why a row cannot be read, without the query that Prisma puts before it. */
export function unreadableFault(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (message.trim().split('\n').at(-1) ?? message).slice(0, faultLength);
}

/** @throws {RangeError} where a date of a row is none. */
export function checkDates(row: object): void {
  for (const [column, cell] of Object.entries(row))
    if (cell instanceof Date && Number.isNaN(cell.getTime())) throw new RangeError(`Invalid time value in column '${column}'`);
}
