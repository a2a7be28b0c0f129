// Precedence between assignments, and the delays between attempts.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isDue, nextAttemptTime } from '../../../src/service/desired-state/back-off.ts';
import { compareByPrecedence, decide } from '../../../src/service/desired-state/precedence.ts';

const contenders = fc.uniqueArray(
  fc.record({
    id: fc.integer({ min: 0, max: 99 }).map((number) => `asg_${String(number).padStart(2, '0')}`),
    priority: fc.integer({ min: -2, max: 2 }),
    modules: fc.uniqueArray(fc.constantFrom('tcp', 'udp', 'ip', 'arp'), { maxLength: 3 }),
  }),
  { selector: ({ id }) => id, maxLength: 8 },
);

test('one assignment decides each module, and every other one is overridden by one that precedes it', () => {
  fc.assert(
    fc.property(contenders, fc.nat(), (matching, seed) => {
      const { deciding, overridden } = decide(matching);
      expect([...deciding, ...overridden.map(({ assignment }) => assignment)].toSorted(compareByPrecedence)).toEqual(
        matching.toSorted(compareByPrecedence),
      );
      const modules = deciding.flatMap((assignment) => assignment.modules);
      expect(new Set(modules).size).toBe(modules.length);
      for (const { assignment, by } of overridden) {
        expect(by.priority > assignment.priority || (by.priority === assignment.priority && by.id < assignment.id)).toBe(true);
        expect(deciding).toContain(by);
        expect(assignment.modules.some((module) => by.modules.includes(module))).toBe(true);
      }
      // The order in which assignments are read does not matter.
      const turn = matching.length === 0 ? 0 : seed % matching.length;
      const rotated = [...matching.slice(turn), ...matching.slice(0, turn)].toReversed();
      expect(decide(rotated)).toEqual({ deciding, overridden });
      // The first of all always decides.
      expect(deciding[0]).toEqual(matching.toSorted(compareByPrecedence)[0]);
    }),
  );
});

test('the delay doubles up to an hour, and a clock that was ahead does not prolong it', () => {
  const now = new Date('2026-12-01T00:00:00Z');
  const minutes = [1, 2, 6, 7, 8, 500].map((attempts) => (nextAttemptTime(attempts, now).getTime() - now.getTime()) / 60_000);
  expect(minutes).toEqual([1, 2, 32, 60, 60, 60]);
  expect(isDue(nextAttemptTime(1, now), now)).toBe(false);
  expect(isDue(now, now)).toBe(true);
  expect(isDue(new Date(now.getTime() + 2 * 3_600_000), now)).toBe(true);
});
