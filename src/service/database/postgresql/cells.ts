// Converts cells of PostgreSQL to values of the Prisma schema's types, and back.

import pg from 'pg';
import { Json } from '../json.ts';
import type { ValueType } from '../prepared-statements.ts';

const { builtins } = pg.types;

/** Parsers of PostgreSQL types; values of other types stay strings. */
const parsers = new Map<number, (text: string) => unknown>([
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
/** The type parsers, in the form that the driver expects. */
export const cellTypes = { getTypeParser: (type: number) => parsers.get(type) ?? String };

/** Encodes a value for the driver. */
export function encodeCell(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Json) return value.text;
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (typeof value === 'bigint') return String(value);
  return Array.isArray(value) ? JSON.stringify(value) : value;
}

/** Encodes a value of a row for the JSON parameter that contains all rows. */
export function encodeJsonCell(value: unknown, type: ValueType): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (type === 'bytes' && value !== null) throw new TypeError('bytes must be a Uint8Array');
  return encodeCell(value);
}
