// Reads a page row by row where it cannot be read at once, so that one row that cannot be decoded does not keep the others from being shown.

import { checkDates, isUnreadable, UnreadableRow } from '../unreadable.ts';
import type { Order, PageByName, PageByTime } from './page.ts';

/** Rows, and marks in the place of those that cannot be read. */
export type MarkedRows<Row, Position> = (Row | UnreadableRow<Position>)[];

/**
 * Reads rows one by one; one that has gone meanwhile is left out.
 * @param keys Of the rows, in the order of the list.
 */
export async function readRowByRow<Key extends { readonly id: string | number }, Row extends object, Position>(
  keys: readonly Key[],
  read: (key: Key) => Promise<Row | null>,
  positionOf: (key: Key) => Promise<Position | null>,
): Promise<MarkedRows<Row, Position>> {
  const rows: MarkedRows<Row, Position> = [];
  for (const key of keys) {
    try {
      const row = await read(key);
      if (row === null) continue;
      checkDates(row);
      rows.push(row);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      rows.push(new UnreadableRow(String(key.id), error, await positionOf(key)));
    }
  }
  return rows;
}

/** The first and the last moment of a list, as cursors have them. */
const bounds = { first: new Date('0001-01-01T00:00:00.000Z'), last: new Date(8.64e15) };
const epoch = new Date(0);

/** Reads the time by which a row is sorted, and whether it is before another time: the database compares what cannot be read as well. */
export type TimeOfRow = {
  readonly time: () => Promise<Date | undefined>;
  readonly isBefore: (moment: Date) => Promise<boolean>;
};

/** The position of a row in a list by time. Rows whose time is no date are all before, or all after, those whose time is one. */
export async function timePosition<Key extends string | number>(
  order: Order,
  key: Key,
  { time, isBefore }: TimeOfRow,
): Promise<PageByTime<Key>['after']> {
  try {
    const found = await time();
    if (found !== undefined && !Number.isNaN(found.getTime())) return { time: found, key };
  } catch (error) {
    if (!isUnreadable(error)) throw error;
  }
  const isEarly = await isBefore(epoch);
  if (isEarly === (order === 'desc')) return null;
  return { time: isEarly ? bounds.first : bounds.last, key };
}

/** The position of a row in a list by name or by time. */
export async function namePosition<Key extends { readonly id: string; readonly name: string }>(
  { sort, order }: PageByTime | PageByName,
  { id, name }: Key,
  time: TimeOfRow,
): Promise<PageByTime['after'] | PageByName['after']> {
  return sort === 'name' ? { name } : timePosition(order, id, time);
}
