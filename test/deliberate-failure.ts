// A test that fails. Continuous integration runs it alone and expects a run that reports the failure by its exit code; no other run includes it.

import { expect, test } from 'vitest';

test('this test fails', () => {
  expect('a failing test').toBe('a failed run');
});
