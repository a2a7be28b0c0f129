// Converts values of a script to bits, and compares results with expectations.

import type { Value } from './script.ts';

const lanes: Readonly<Record<string, number>> = { i8: 8, i16: 16, i32: 32, i64: 64, f32: 32, f64: 64 };

/** Returns the bits of an argument; null for a reference. */
export function bitsOf(value: Value): bigint | null {
  const width = lanes[value.lane_type ?? ''];
  if (Array.isArray(value.value)) {
    if (width === undefined) throw new Error(`unknown lanes: ${value.lane_type}`);
    return value.value.reduce((bits, lane, index) => bits | (BigInt.asUintN(width, BigInt(lane)) << BigInt(width * index)), 0n);
  }
  return isNumber(value) ? BigInt(value.value ?? '0') : null;
}

export const isNumber = ({ type }: Value): boolean => type === 'v128' || type in lanes;

/** Returns whether the bits of a result match the expected value or the expected kind of NaN. */
export function matches(bits: bigint, expected: Value): boolean {
  if (!Array.isArray(expected.value)) return matchesLane(bits, expected.type, expected.value ?? '0');
  const type = expected.lane_type ?? '';
  const width = lanes[type] ?? 0;
  return expected.value.every((lane, index) => matchesLane(BigInt.asUintN(width, bits >> BigInt(width * index)), type, lane));
}

const quietNaN: Readonly<Record<string, bigint>> = { f32: 0x7fc0_0000n, f64: 0x7ff8_0000_0000_0000n };

function matchesLane(bits: bigint, type: string, expected: string): boolean {
  const width = lanes[type] ?? 0;
  const quiet = quietNaN[type] ?? 0n;
  if (expected === 'nan:canonical') return BigInt.asUintN(width - 1, bits) === quiet;
  if (expected === 'nan:arithmetic') return (bits & quiet) === quiet;
  return bits === BigInt.asUintN(width, BigInt(expected));
}

/** Formats bits for a failure message. */
export const printBits = (bits: bigint) => `0x${bits.toString(16)}`;
