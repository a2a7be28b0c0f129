// Cells of PostgreSQL as values of the types of the Prisma schema, and back.

import pg from 'pg';
import { Json } from '../json.ts';
import type { ValueType } from '../prepared-statements.ts';

const { builtins } = pg.types;

/** How texts of the types of PostgreSQL are read; those of other types stay texts. */
const readers = new Map<number, (text: string) => unknown>([
  [builtins.INT2, Number],
  [builtins.INT4, Number],
  [builtins.INT8, BigInt],
  [builtins.FLOAT8, Number],
  [builtins.NUMERIC, Number],
  [builtins.BOOL, (text) => text === 't'],
  [builtins.TIMESTAMP, (text) => new Date(`${text.replace(' ', 'T')}Z`)],
  [builtins.BYTEA, (text) => new Uint8Array(Buffer.from(text.slice(2), 'hex'))],
  [builtins.JSONB, (text) => JSON.parse(text)],
]);
/** As a statement of the driver is told. */
export const cellTypes = { getTypeParser: (type: number) => readers.get(type) ?? String };

/** A value as the driver sends it. */
export function encodeCell(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Json) return value.text;
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (typeof value === 'bigint') return String(value);
  return Array.isArray(value) ? JSON.stringify(value) : value;
}

/** A value of a row in the JSON that has all rows: as it is cast to its type there. */
export function encodeJsonCell(value: unknown, type: ValueType): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (type === 'bytes' && value !== null) throw new TypeError('bytes are given as a Uint8Array');
  return encodeCell(value);
}
