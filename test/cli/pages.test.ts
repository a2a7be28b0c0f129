// Lists are followed page after page, as far as the operator asks and no further; items that cannot be shown count.

import { expect, test } from 'vitest';
import { readPages } from '../../src/cli/operator/pages.ts';

/** A list of numbers from 0, whose cursors are numbers too; answers how it was asked. */
function listOf(length: number) {
  const asked: number[] = [];
  const ask = async ({ limit, cursor = '0' }: { limit: number; cursor?: string }) => {
    asked.push(limit);
    const end = Math.min(length, Number(cursor) + limit);
    const items = Array.from({ length: end - Number(cursor) }, (_, index) => Number(cursor) + index);
    const damaged = items.filter((item) => item % 100 === 99).map((item) => ({ id: String(item), reason: 'not a number' }));
    return { items: items.filter((item) => item % 100 !== 99), damaged, next: end < length ? String(end) : null };
  };
  return { asked, ask };
}

test.each([
  { length: 1_000, options: { limit: 450 }, asked: [200, 200, 50], items: 450, next: '450' },
  { length: 430, options: { limit: 450 }, asked: [200, 200, 50], items: 430, next: null },
  { length: 400, options: { limit: 400 }, asked: [200, 200], items: 400, next: null },
  { length: 401, options: { limit: 1, all: true as const }, asked: [200, 200, 200], items: 401, next: null },
  { length: 0, options: { limit: 50 }, asked: [50], items: 0, next: null },
])('of $length items $options gives $items', async ({ length, options, asked, items, next }) => {
  const list = listOf(length);
  const all = Array.from({ length: items }, (_, index) => index);
  expect(await readPages(options, list.ask)).toEqual({
    items: all.filter((item) => item % 100 !== 99),
    damaged: all.filter((item) => item % 100 === 99).map((item) => ({ id: String(item), reason: 'not a number' })),
    next,
  });
  expect(list.asked).toEqual(asked);
});
