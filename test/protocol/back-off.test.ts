// The waits of the exponential back-off.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backOffMilliseconds } from '../../src/protocol/back-off.ts';

test('waits between half the bound and the bound, which doubles with each failure up to the maximum', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2_000 }),
      fc.integer({ min: 1, max: 1_000 }),
      fc.integer({ min: 1, max: 100 }),
      (failures, first, times) => {
        const limits = { initial: first, max: first * times };
        const bound = failures > 30 ? limits.max : Math.min(first * 2 ** (failures - 1), limits.max);
        const wait = backOffMilliseconds(failures, limits);
        expect(wait).toBeGreaterThanOrEqual(bound / 2);
        expect(wait).toBeLessThanOrEqual(bound);
      },
    ),
  );
});

test('adds jitter to the waits', () => {
  const limits = { initial: 100, max: 5_000 };
  expect(new Set(Array.from({ length: 20 }, () => backOffMilliseconds(3, limits))).size).toBeGreaterThan(10);
});
