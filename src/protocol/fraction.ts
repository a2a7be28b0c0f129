// Exact arithmetic for percentages and ratios. In floating point, 7 of 25 is 28.000000000000004 percent, which exceeds a limit of 28.

/** An exact rational number. The denominator is positive; the fraction is not reduced. */
export type Fraction = { readonly numerator: bigint; readonly denominator: bigint };

/**
 * Converts a number to the decimal that it prints as: 64.4 is 644/10, not the nearest binary fraction.
 * @throws {RangeError} If the number is not finite.
 */
export function fractionOf(value: number): Fraction {
  const [, sign, whole, decimals = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value)) ?? [];
  if (whole === undefined) throw new RangeError(`expected a finite number, received ${value}`);
  const digits = BigInt(`${sign}${whole}${decimals}`);
  const power = Number(exponent) - decimals.length;
  return power >= 0
    ? { numerator: digits * 10n ** BigInt(power), denominator: 1n }
    : { numerator: digits, denominator: 10n ** BigInt(-power) };
}

/** Returns left - right. */
export function subtractFractions(left: Fraction, right: Fraction): Fraction {
  return {
    numerator: left.numerator * right.denominator - right.numerator * left.denominator,
    denominator: left.denominator * right.denominator,
  };
}

/** Returns left × right. */
export function multiplyFractions(left: Fraction, right: Fraction): Fraction {
  return { numerator: left.numerator * right.numerator, denominator: left.denominator * right.denominator };
}

/**
 * Returns part / whole.
 * @param whole Positive.
 * @throws {RangeError} If the whole is zero or negative.
 */
export function divideFractions(part: Fraction, whole: Fraction): Fraction {
  if (whole.numerator <= 0n) throw new RangeError(`expected a positive divisor, received ${whole.numerator}/${whole.denominator}`);
  return { numerator: part.numerator * whole.denominator, denominator: part.denominator * whole.numerator };
}

/** Returns -1 if left is less than right, 0 if they are equal, 1 if left is greater. */
export function compareFractions(left: Fraction, right: Fraction): -1 | 0 | 1 {
  const difference = left.numerator * right.denominator - right.numerator * left.denominator;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** Returns the smallest integer that is not less. The result is exact up to 2^53. */
export function ceilingOf({ numerator, denominator }: Fraction): number {
  const towardsZero = numerator / denominator;
  return Number(numerator > 0n && numerator % denominator !== 0n ? towardsZero + 1n : towardsZero);
}

/** Rounds to the given number of decimals, halves away from zero. */
export function roundFraction({ numerator, denominator }: Fraction, decimals: number): number {
  const magnitude = numerator < 0n ? -numerator : numerator;
  const rounded = (magnitude * 10n ** BigInt(decimals) * 2n + denominator) / (denominator * 2n);
  const sign = numerator < 0n && rounded > 0n ? '-' : '';
  return Number(`${sign}${rounded}e-${decimals}`);
}

/** Decimals beyond which a double does not change. */
const maxDecimals = 17;

/**
 * Rounds a measured value for display next to its limit: to two decimals, or to as many as it takes to stay on the same side of the limit.
 * 28.0004 with a limit of 28 stays 28.0004, because 28 would read as within the limit.
 */
export function roundBesideLimit(measured: Fraction, limit: Fraction): number {
  const side = compareFractions(measured, limit);
  for (let decimals = 2; decimals < maxDecimals; decimals += 1) {
    const rounded = roundFraction(measured, decimals);
    if (compareFractions(fractionOf(rounded), limit) === side) return rounded;
  }
  return roundFraction(measured, maxDecimals);
}
