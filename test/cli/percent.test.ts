// Shares as the command line prints them.

import { expect, test } from 'vitest';
import { formatPercent } from '../../src/cli/terminal/percent.ts';

test.each([
  [0, 8, '0.0%'],
  [1, 8, '12.5%'],
  [7, 25, '28.0%'],
  [2, 3, '66.7%'],
  [8, 8, '100.0%'],
  [1, 100_000, '<0.1%'],
  [99_999, 100_000, '>99.9%'],
])('%i of %i is %s', (part, whole, text) => {
  expect(formatPercent(part, whole)).toBe(text);
});
