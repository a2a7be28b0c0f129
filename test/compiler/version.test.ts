// Assignment of the next version.

import fc from 'fast-check';
import { compare, diff } from 'semver';
import { expect, test } from 'vitest';
import { bumpVersion, type VersionBump } from '../../src/compiler/version.ts';

const version = fc
  .tuple(fc.nat(3), fc.nat(3), fc.nat(3), fc.constantFrom('', '-rc.1', '+5'))
  .map(([major, minor, patch, suffix]) => `${major}.${minor}.${patch}${suffix}`);

test('assigns a version that is newer than all existing ones', () => {
  fc.assert(
    fc.property(fc.array(version), fc.constantFrom<VersionBump>('next-major', 'next-minor', 'next-patch'), (existing, wanted) => {
      const assigned = bumpVersion(existing, wanted);
      if (assigned === null) throw new Error('no version');
      for (const version of existing) expect(compare(assigned, version)).toBe(1);
      if (existing.length === 0) expect(assigned).toBe('1.0.0');
    }),
  );
});

test.each([
  ['next-major', '2.0.0', 'major'],
  ['next-minor', '1.3.0', 'minor'],
  ['next-patch', '1.2.10', 'patch'],
] as const)('%s after 1.2.9 is %s', (wanted, expected, part) => {
  expect(bumpVersion(['1.2.9', '1.2.1', '0.9.0'], wanted)).toBe(expected);
  expect(diff('1.2.9', expected)).toBe(part);
});

test.each([
  ['9007199254740991.0.0', 'next-major', null],
  ['9007199254740991.0.0', 'next-minor', '9007199254740991.1.0'],
  ['9007199254740990.9.9', 'next-major', '9007199254740991.0.0'],
  ['9007199254740991.0.0-rc.1', 'next-major', '9007199254740991.0.0'],
  ['1.9007199254740991.0', 'next-minor', null],
  ['1.9007199254740991.0', 'next-major', '2.0.0'],
  ['1.2.9007199254740991', 'next-patch', null],
] as const)('after %s, %s is %s', (highest, wanted, expected) => {
  expect(bumpVersion(['1.0.0', highest], wanted)).toBe(expected);
});
