// Assignment of devices to waves, and the rate limit of loads.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { loadAllowance, nextLoadTime } from '../../../src/service/rollouts/load-rate.ts';
import { assignWaves, type WavePlan } from '../../../src/service/rollouts/plan.ts';

type Sized = Pick<WavePlan, 'size'>;
const devices = (count: number): Sized => ({ size: { kind: 'devices', devices: count } });
const upTo = (percent: number): Sized => ({ size: { kind: 'up-to-percent', percent } });

/** Returns the number of devices in each wave. */
const sizesOf = (waves: readonly Sized[], count: number) =>
  waves.map((_, index) => assignWaves(waves, count).filter((wave) => wave === index + 1).length);

test('sizes a wave in additional devices or as a cumulative percentage', () => {
  expect(sizesOf([devices(1), upTo(10), upTo(100)], 100)).toEqual([1, 9, 90]);
  expect(sizesOf([devices(5), upTo(10), upTo(100)], 20)).toEqual([5, 0, 15]);
  expect(sizesOf([upTo(1), upTo(100)], 3)).toEqual([1, 2]);
  expect(sizesOf([devices(10), devices(10), upTo(100)], 15)).toEqual([10, 5, 0]);
  expect(sizesOf([upTo(0), upTo(100)], 7)).toEqual([0, 7]);
  expect(sizesOf([devices(1), upTo(100)], 0)).toEqual([0, 0]);
});

test('rounds up the exact value of a percentage', () => {
  // With floating point, 250 × 64.4 / 100 is 161.00000000000003.
  expect(sizesOf([upTo(64.4), upTo(100)], 250)).toEqual([161, 89]);
  for (let count = 5; count <= 250; count += 7)
    for (let tenths = 0; tenths <= 1_000; tenths += 1) {
      const expected = (BigInt(count) * BigInt(tenths) + 999n) / 1_000n;
      const reached = assignWaves([upTo(tenths / 10), upTo(100)], count).lastIndexOf(1) + 1;
      if (BigInt(reached) !== expected) expect({ count, percent: tenths / 10, reached }).toEqual({ reached: expected });
    }
});

/** A percentage in millionths. */
const percentage = fc.integer({ min: 0, max: 100_000_000 });
const wave = fc.oneof(
  fc.integer({ min: 1, max: 40 }).map(devices),
  percentage.map((millionths) => upTo(millionths / 1_000_000)),
);

test('assigns every device to one wave, in order, and no wave exceeds its size', () => {
  fc.assert(
    fc.property(fc.array(wave, { maxLength: 8 }), fc.integer({ min: 0, max: 200 }), (first, count) => {
      const waves = [...first, upTo(100)];
      const numbers = assignWaves(waves, count);
      expect(numbers).toHaveLength(count);
      expect(numbers).toEqual(numbers.toSorted((left, right) => left - right));
      let before = 0;
      for (const [index, { size }] of waves.entries()) {
        const reached = numbers.filter((number) => number <= index + 1).length;
        if (size.kind === 'devices') expect(reached - before).toBe(Math.min(size.devices, count - before));
        else {
          const wanted = (BigInt(count) * BigInt(Math.round(size.percent * 1_000_000)) + 99_999_999n) / 100_000_000n;
          expect(reached).toBe(Math.max(before, Number(wanted)));
        }
        before = reached;
      }
    }),
  );
});

test('never allows more loads than the rate and a burst of one second', () => {
  const step = fc.record({ after: fc.integer({ min: 0, max: 5_000 }), wanted: fc.integer({ min: 1, max: 50 }) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100_000 }), fc.array(step, { minLength: 1, maxLength: 60 }), (perMinute, steps) => {
      let now = 1_000_000;
      let next: Date | null = null;
      let requested = 0;
      const startedAt = now + (steps[0]?.after ?? 0);
      for (const { after, wanted } of steps) {
        now += after;
        const count = Math.min(wanted, loadAllowance(perMinute, next, new Date(now)));
        if (count === 0) continue;
        next = nextLoadTime(count, perMinute, next, new Date(now));
        requested += count;
      }
      expect(requested).toBeLessThanOrEqual(((now - startedAt + 1_000) * perMinute) / 60_000 + 1);
    }),
  );
});

test('allows after a delay the exact number of loads, rounded down', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000_000 }), fc.integer({ min: 0, max: 1_000 }), (perMinute, late) => {
      const allowed = 1n + (BigInt(late) * BigInt(perMinute)) / 60_000n;
      expect(loadAllowance(perMinute, new Date(1_000_000), new Date(1_000_000 + late))).toBe(Number(allowed));
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000_000 }), fc.integer({ min: 1, max: 10_000 }), (perMinute, requested) => {
      const after = (BigInt(requested) * 60_000n + BigInt(perMinute) - 1n) / BigInt(perMinute);
      expect(nextLoadTime(requested, perMinute, null, new Date(1_700_000_000_000))?.getTime()).toBe(1_700_000_000_000 + Number(after));
    }),
  );
});

test('allows the full rate to a continuous requester', () => {
  fc.assert(
    fc.property(fc.integer({ min: 60, max: 60_000 }), (perMinute) => {
      let next: Date | null = null;
      let requested = 0;
      for (let now = 0; now < 60_000; now += 20) {
        const count = loadAllowance(perMinute, next, new Date(now));
        next = nextLoadTime(count, perMinute, next, new Date(now));
        requested += count;
      }
      // Each time is rounded up to a millisecond.
      expect(requested).toBeGreaterThanOrEqual(perMinute * 0.94 - 1);
    }),
  );
});

test('keeps the rate after a clock that was ahead is corrected', () => {
  const step = fc.record({ jump: fc.constantFrom(0, 0, 3_600_000, 315_360_000_000), after: fc.integer({ min: 0, max: 5_000 }) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6_000 }), fc.array(step, { maxLength: 20 }), (perMinute, steps) => {
      let now = 1_000_000;
      let next: Date | null = null;
      for (const { jump, after } of steps) {
        now += after;
        const seen = new Date(now + jump);
        const count = loadAllowance(perMinute, next, seen);
        if (count > 0) next = nextLoadTime(count, perMinute, next, seen);
      }
      // From here on the clock is right.
      const longest = 60_000 / perMinute + 2_000;
      expect(loadAllowance(perMinute, next, new Date(now + longest))).toBeGreaterThan(0);
      const count = loadAllowance(perMinute, next, new Date(now));
      expect(count).toBeLessThanOrEqual(1 + perMinute / 60);
      if (count > 0) expect(loadAllowance(perMinute, nextLoadTime(count, perMinute, next, new Date(now)), new Date(now))).toBe(0);
    }),
  );
});

test('does not limit loads without a rate', () => {
  expect(loadAllowance(null, null, new Date())).toBe(Number.MAX_SAFE_INTEGER);
  expect(nextLoadTime(5, null, null, new Date())).toBeNull();
});
