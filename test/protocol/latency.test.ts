// Latency histograms: merged over devices, subtracted over time, and queried for quantiles.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ProgramStatistics } from '../../src/protocol/device-state.ts';
import { Latency, latencyCalls, latencyQuantile, mergeLatencies, subtractLatency } from '../../src/protocol/latency.ts';

const bounds = fc.oneof(fc.nat(50), fc.nat(100_000), fc.nat(Number.MAX_SAFE_INTEGER));

const latency = fc
  .uniqueArray(fc.tuple(bounds, fc.nat(1_000)), { selector: ([bound]) => bound, maxLength: 60 })
  .map((buckets) => buckets.toSorted(([left], [right]) => left - right))
  .map((buckets): Latency => ({ microseconds: buckets.map(([bound]) => bound), calls: buckets.map(([, calls]) => calls) }));

/** A histogram of few calls, mostly in separate buckets. */
const fewCalls = fc
  .array(fc.nat(30), { maxLength: 12 })
  .map((some) => mergeLatencies(some.map((bound) => ({ microseconds: [bound], calls: [1] }))));

const empty: Latency = { microseconds: [], calls: [] };

/** Returns a histogram without its empty buckets. */
const filled = (one: Latency) => mergeLatencies([one]);

/** Returns the bound of the bucket of each call, the fastest first. */
const callsOf = ({ microseconds, calls }: Latency) =>
  microseconds.flatMap((bound, index) => Array.from({ length: calls[index] ?? 0 }, () => bound));

test('merges all calls in any order, and subtracts them again', () => {
  fc.assert(
    fc.property(latency, latency, latency, (one, two, three) => {
      const merged = mergeLatencies([one, two, three]);
      expect(Latency.safeParse(merged).success).toBe(true);
      expect(callsOf(merged)).toEqual([one, two, three].flatMap(callsOf).toSorted((left, right) => left - right));
      expect(mergeLatencies([mergeLatencies([three, one]), two])).toEqual(merged);
      expect(subtractLatency(merged, mergeLatencies([one, three]))).toEqual(filled(two));
      expect(subtractLatency(merged, empty)).toEqual(merged);
      expect(subtractLatency(merged, merged)).toEqual(empty);
    }),
    { numRuns: 300 },
  );
});

test('never subtracts below zero', () => {
  fc.assert(
    fc.property(latency, latency, (one, two) => {
      const left = subtractLatency(one, two);
      expect(Latency.safeParse(left).success).toBe(true);
      expect(left.calls.every((calls) => calls > 0)).toBe(true);
      expect(latencyCalls(left)).toBeLessThanOrEqual(latencyCalls(one));
    }),
  );
});

test('a quantile is the bound of the call at that rank, so that quantiles ascend', () => {
  const quantile = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.oneof(latency, fewCalls), quantile, quantile, (one, lower, higher) => {
      const calls = callsOf(one);
      expect(latencyCalls(one)).toBe(calls.length);
      for (const part of [0, lower, higher, 1])
        expect(latencyQuantile(one, part)).toBe(calls[Math.max(0, Math.ceil(part * calls.length) - 1)] ?? null);
      const [least, most] = [Math.min(lower, higher), Math.max(lower, higher)];
      expect(latencyQuantile(one, least) ?? 0).toBeLessThanOrEqual(latencyQuantile(one, most) ?? 0);
    }),
  );
});

test('rounds bounds up by at most an eighth if there are too many buckets, without losing calls', () => {
  const many = fc.record({
    buckets: fc.integer({ min: 600, max: 1_500 }),
    first: bounds,
    distance: fc.integer({ min: 1, max: 1_000_000 }),
    calls: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(many, ({ buckets, first, distance, calls }) => {
      const all = Array.from({ length: buckets }, (_, index) => first + index * distance).filter(Number.isSafeInteger);
      const parts = [0, 500, 1_000]
        .map((from) => all.slice(from, from + 500))
        .map((part) => ({ microseconds: part, calls: part.map(() => calls) }));
      const merged = mergeLatencies(parts);
      expect(Latency.safeParse(merged).error).toBeUndefined();
      const [before, after] = [parts.flatMap(callsOf), callsOf(merged)];
      expect(after).toHaveLength(before.length);
      expect(after.every((bound, index) => bound >= (before[index] ?? 0) && bound <= (before[index] ?? 0) * 1.125)).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test.each([
  ['bounds that do not ascend', { microseconds: [1, 3, 2], calls: [1, 1, 1] }],
  ['a bound twice', { microseconds: [1, 1], calls: [1, 1] }],
  ['more bounds than counts', { microseconds: [1, 2], calls: [1] }],
  ['less than no call', { microseconds: [1], calls: [-1] }],
  [
    'more than 512 buckets',
    { microseconds: Array.from({ length: 513 }, (_, index) => index), calls: Array.from({ length: 513 }, () => 1) },
  ],
])('rejects a histogram with %s', (_, wrong) => {
  expect(Latency.safeParse(wrong).success).toBe(false);
});

test('accepts statistics of a device that does not measure latency', () => {
  const counts = { threads: 1, callsCompleted: 1, callsFailed: 0, accessesInterrupted: 0, accessesRetried: 0, effects: 0 };
  const versions = [{ version: '1.0.0', callsCompleted: 1 }];
  const facts = { program: `prg_${'0'.repeat(32)}`, state: 'running', lastFailure: null, lastResult: null };
  expect(ProgramStatistics.parse({ ...facts, ...counts, versions }).versions).toEqual([
    { version: '1.0.0', callsCompleted: 1, callsFailed: 0, latency: empty },
  ]);
});
