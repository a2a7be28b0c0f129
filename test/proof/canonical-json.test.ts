// Canonical JSON: the examples of RFC 8785, and properties of all values.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalJson, isList, type Json } from '../../src/proof/canonical-json.ts';

test('serializes the example of RFC 8785, 3.2.2 and 3.2.3', () => {
  const value: Json = {
    numbers: [333333333.3333333, 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
    string: '\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"/',
    literals: [null, true, false],
  };
  expect(canonicalJson(value)).toBe(
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
});

test('sorts members by UTF-16 code units (RFC 8785, 3.2.3)', () => {
  const value: Json = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\u{1f600}': 5, '\u0080': 6, '\u00f6': 7 };
  expect([...canonicalJson(value).matchAll(/:(\d)/g)].map(([, number]) => number).join('')).toBe('2467153');
});

test('writes negative zero as zero, and rejects values that JSON cannot represent', () => {
  expect(canonicalJson([-0])).toBe('[0]');
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, '\ud800', { '\udc00': 1 }])
    expect(() => canonicalJson(value)).toThrow(TypeError);
});

const json = fc.jsonValue({ stringUnit: 'binary' });
const asJson = (value: unknown): Json => JSON.parse(JSON.stringify(value));

test('round-trips a value, independently of the order of its members', () => {
  fc.assert(
    fc.property(json, (some) => {
      const value = asJson(some);
      const text = canonicalJson(value);
      expect(JSON.parse(text)).toEqual(value);
      expect(canonicalJson(reversed(value))).toBe(text);
    }),
  );
});

function reversed(value: Json): Json {
  if (value === null || typeof value !== 'object') return value;
  if (isList(value)) return value.map(reversed);
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .flatMap(([name, member]) => (member === undefined ? [] : [[name, reversed(member)]])),
  );
}
