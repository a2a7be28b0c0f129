// Lists are read page after page up to the limit; invalid items count.

import { expect, test } from 'vitest';
import { readPages } from '../../src/cli/operator/pages.ts';

/** Creates a list of numbers from 0, with numbers as cursors, that records the requested limits. */
function createList(length: number) {
  const limits: number[] = [];
  const readPage = async ({ limit, cursor = '0' }: { limit: number; cursor?: string }) => {
    limits.push(limit);
    const end = Math.min(length, Number(cursor) + limit);
    const items = Array.from({ length: end - Number(cursor) }, (_, index) => Number(cursor) + index);
    const damaged = items.filter((item) => item % 100 === 99).map((item) => ({ id: String(item), reason: 'not a number' }));
    return { items: items.filter((item) => item % 100 !== 99), damaged, next: end < length ? String(end) : null };
  };
  return { limits, readPage };
}

test.each([
  { length: 1_000, options: { limit: 450 }, limits: [200, 200, 50], items: 450, next: '450' },
  { length: 430, options: { limit: 450 }, limits: [200, 200, 50], items: 430, next: null },
  { length: 400, options: { limit: 400 }, limits: [200, 200], items: 400, next: null },
  { length: 401, options: { limit: 1, all: true as const }, limits: [200, 200, 200], items: 401, next: null },
  { length: 0, options: { limit: 50 }, limits: [50], items: 0, next: null },
])('$options of $length items reads $items', async ({ length, options, limits, items, next }) => {
  const list = createList(length);
  const all = Array.from({ length: items }, (_, index) => index);
  expect(await readPages(options, list.readPage)).toEqual({
    items: all.filter((item) => item % 100 !== 99),
    damaged: all.filter((item) => item % 100 === 99).map((item) => ({ id: String(item), reason: 'not a number' })),
    next,
  });
  expect(list.limits).toEqual(limits);
});
