// Durations in tables.

import { expect, test } from 'vitest';
import { formatDuration } from '../../src/cli/terminal/times.ts';

test.each([
  [undefined, '-'],
  [0, '0 µs'],
  [999, '999 µs'],
  [1_000, '1 ms'],
  [12_345, '12.3 ms'],
  [999_600, '1000 ms'],
  [1_000_000, '1 s'],
  [3_623_878_656, '3620 s'],
])('%j microseconds are shown as %s', (microseconds, text) => {
  expect(formatDuration(microseconds)).toBe(text);
});
