// The retention time with wrong clocks.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { advanceRetentionTime, retentionSpeeds } from '../../../src/service/clock/retention-time.ts';

const { max, min } = retentionSpeeds;

test('the retention time runs between half and twice as fast as real time, and converges to the service clock', () => {
  const step = fc.record({ elapsed: fc.integer({ min: 0, max: 86_400_000 }), ahead: fc.integer({ min: -1e12, max: 1e12 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let at = 1.7e12;
      let real = at;
      for (const { elapsed, ahead } of steps) {
        real += elapsed;
        const next = advanceRetentionTime(at, elapsed, real + ahead);
        expect(next - at).toBeLessThanOrEqual(elapsed * max);
        expect(next - at).toBeGreaterThanOrEqual(elapsed * min);
        at = next;
      }
      const rest = 2 * Math.abs(real - at);
      expect(advanceRetentionTime(at, rest, real + rest)).toBe(real + rest);
    }),
  );
});
