// The time by which it is decided what is old, on clocks that are wrong.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { advanceRetentionTime, retentionSpeeds } from '../../../src/service/clock/retention-time.ts';

const { fastest, slowest } = retentionSpeeds;

test('it never runs faster than twice nor slower than half as fast as time, and comes to the right time if that lasts', () => {
  const step = fc.record({ elapsed: fc.integer({ min: 0, max: 86_400_000 }), ahead: fc.integer({ min: -1e12, max: 1e12 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let at = 1.7e12;
      let real = at;
      for (const { elapsed, ahead } of steps) {
        real += elapsed;
        const next = advanceRetentionTime(at, elapsed, real + ahead);
        expect(next - at).toBeLessThanOrEqual(elapsed * fastest);
        expect(next - at).toBeGreaterThanOrEqual(elapsed * slowest);
        at = next;
      }
      const rest = 2 * Math.abs(real - at);
      expect(advanceRetentionTime(at, rest, real + rest)).toBe(real + rest);
    }),
  );
});
