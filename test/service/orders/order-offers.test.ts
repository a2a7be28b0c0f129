// Intervals between offers of an unsettled order.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OrderOffers, offerIntervals } from '../../../src/service/orders/order-offers.ts';

const { first, max: longest } = offerIntervals;

/** Returns the times, in seconds, at which an order is offered that is checked every second and never settled. */
function offersOf(seconds: number): number[] {
  let now = 0;
  const offers = new OrderOffers({ monotonic: () => now });
  const times: number[] = [0];
  offers.record('host', [{ number: 1 }]);
  for (; now <= seconds * 1_000; now += 1_000) {
    if (!offers.mayBeDue('host')) continue;
    const due = offers.findDue('host', [{ number: 1 }]);
    offers.record('host', due);
    if (due.length > 0) times.push(now / 1_000);
  }
  return times;
}

test('an order is offered again after an interval that doubles up to a limit', () => {
  const times = offersOf(3_600);
  const intervals = times.slice(1).map((time, index) => (time - (times[index] ?? 0)) * 1_000);
  expect(intervals[0]).toBe(first);
  for (const [index, interval] of intervals.slice(1).entries()) expect(interval).toBe(Math.min((intervals[index] ?? 0) * 2, longest));
  expect(intervals.at(-1)).toBe(longest);
});

test('orders that another replica has offered are offered within the first interval, and settled orders never', () => {
  const event = fc.record({
    settles: fc.integer({ min: 0, max: 9 }),
    makes: fc.integer({ min: 0, max: 3 }),
    passes: fc.integer({ min: 0, max: 40_000 }),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      let now = 0;
      let made = 0;
      const offers = new OrderOffers({ monotonic: () => now });
      const offeredAt = new Map<number, number>();
      const unsettled = new Set<number>();
      const look = () => {
        if (!offers.mayBeDue('host')) return;
        const due = offers.findDue(
          'host',
          [...unsettled].map((number) => ({ number })),
        );
        for (const { number } of due) {
          expect(unsettled).toContain(number);
          const before = offeredAt.get(number);
          if (before !== undefined) expect(now - before).toBeGreaterThanOrEqual(first);
          offeredAt.set(number, now);
        }
        offers.record('host', due);
      };
      for (const { settles, makes, passes } of events) {
        for (let count = 0; count < makes; count += 1) {
          made += 1;
          unsettled.add(made);
          // This replica offers every second order, another replica the rest.
          if (made % 2 === 0) continue;
          offers.record('host', [{ number: made }]);
          offeredAt.set(made, now);
        }
        unsettled.delete(settles);
        look();
        now += passes;
      }
      now += longest;
      look();
      for (const number of unsettled) expect(offeredAt.has(number)).toBe(true);
    }),
  );
});
