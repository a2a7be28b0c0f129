// Exact arithmetic with decimals.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  ceilingOf,
  compareFractions,
  divideFractions,
  fractionOf,
  multiplyFractions,
  roundBesideLimit,
  roundFraction,
  subtractFractions,
} from '../../src/protocol/fraction.ts';

/** Any finite number, including the smallest, the largest and those with exponents. */
const number = fc.double({ noNaN: true, noDefaultInfinity: true });

/** Returns whether two fractions are equal. */
const isSame = (left: ReturnType<typeof fractionOf>, right: ReturnType<typeof fractionOf>) => compareFractions(left, right) === 0;

test('converts a number to the decimal that it prints as', () => {
  expect(fractionOf(64.4)).toEqual({ numerator: 644n, denominator: 10n });
  expect(fractionOf(-0.05)).toEqual({ numerator: -5n, denominator: 100n });
  expect(fractionOf(1.5e-7)).toEqual({ numerator: 15n, denominator: 10n ** 8n });
  expect(fractionOf(2e21)).toEqual({ numerator: 2n * 10n ** 21n, denominator: 1n });
  fc.assert(
    fc.property(number, (value) => {
      expect(roundFraction(fractionOf(value), 400)).toBe(value === 0 ? 0 : value);
    }),
  );
  for (const notFinite of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
    expect(() => fractionOf(notFinite)).toThrow(/expected a finite number/);
});

test('operations are inverses of each other, and the order is that of numbers', () => {
  fc.assert(
    fc.property(number, number, fc.double({ min: 0, minExcluded: true, noNaN: true, noDefaultInfinity: true }), (one, two, positive) => {
      const [left, right, divisor] = [fractionOf(one), fractionOf(two), fractionOf(positive)];
      expect(isSame(subtractFractions(left, subtractFractions(left, right)), right)).toBe(true);
      expect(isSame(multiplyFractions(divideFractions(left, divisor), divisor), left)).toBe(true);
      expect(compareFractions(left, right)).toBe(Math.sign(one > two ? 1 : one < two ? -1 : 0));
    }),
  );
  expect(() => divideFractions(fractionOf(1), fractionOf(0))).toThrow(RangeError);
});

test('computes the smallest integer that is not less', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 53n), max: 2n ** 53n }), fc.bigInt({ min: 1n, max: 2n ** 40n }), (numerator, denominator) => {
      const ceiling = BigInt(ceilingOf({ numerator, denominator }));
      expect(ceiling * denominator >= numerator && (ceiling - 1n) * denominator < numerator).toBe(true);
    }),
  );
});

test('rounds to the nearest decimal, halves away from zero', () => {
  expect(roundFraction({ numerator: 1n, denominator: 3n }, 2)).toBe(0.33);
  expect(roundFraction({ numerator: 5n, denominator: 1_000n }, 2)).toBe(0.01);
  expect(roundFraction({ numerator: -5n, denominator: 1_000n }, 2)).toBe(-0.01);
  expect(roundFraction({ numerator: -1n, denominator: 1_000n }, 2)).toBe(0);
  expect(roundFraction({ numerator: 700n, denominator: 25n }, 0)).toBe(28);
});

test('rounds a value to the side of the limit on which the exact value is', () => {
  expect(roundBesideLimit({ numerator: 280_004n, denominator: 10_000n }, fractionOf(28))).toBe(28.0004);
  expect(roundBesideLimit({ numerator: 279_996n, denominator: 10_000n }, fractionOf(28))).toBe(27.9996);
  expect(roundBesideLimit({ numerator: 100n, denominator: 3n }, fractionOf(28))).toBe(33.33);
  const count = fc.integer({ min: 0, max: 1_000_000 });
  fc.assert(
    fc.property(count, fc.integer({ min: 1, max: 1_000_000 }), fc.integer({ min: 0, max: 100_000 }), (part, whole, thousandths) => {
      const exact = { numerator: BigInt(part) * 100n, denominator: BigInt(whole) };
      const limit = thousandths / 1_000;
      const shown = roundBesideLimit(exact, fractionOf(limit));
      expect(compareFractions(fractionOf(shown), fractionOf(limit))).toBe(compareFractions(exact, fractionOf(limit)));
      expect(Math.abs(shown - (100 * part) / whole)).toBeLessThanOrEqual(0.005 + 1e-9);
    }),
  );
});
