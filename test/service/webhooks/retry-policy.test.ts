// Back-off and the end of attempts, for any history of failures.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nextAttempt, retryLimits } from '../../../src/service/webhooks/retry-policy.ts';

const start = Date.parse('2026-11-30T00:00:00Z');

test('waits grow to an hour at most, and the last attempt is at the end of the day', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(200_000_000)), { minLength: 100, maxLength: 100 }), (retryAfters) => {
      let now = start;
      for (const [index, retryAfter] of retryAfters.entries()) {
        const next = nextAttempt({ attempts: index + 1, firstAttemptAt: new Date(start), retryAfter }, new Date(now));
        if (next === null) {
          expect(now).toBe(start + retryLimits.period);
          return;
        }
        const wait = next.getTime() - now;
        expect(wait).toBeLessThanOrEqual(3_600_000);
        if (next.getTime() < start + retryLimits.period) expect(wait).toBeGreaterThanOrEqual(2_500);
        now = next.getTime();
      }
      throw new Error('the attempts did not end');
    }),
  );
});
