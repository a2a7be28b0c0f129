// Versions that the compiler assigns.

import fc from 'fast-check';
import { compare, diff } from 'semver';
import { expect, test } from 'vitest';
import { assignVersion, type NextVersion } from '../../src/compiler/version.ts';

const version = fc
  .tuple(fc.nat(3), fc.nat(3), fc.nat(3), fc.constantFrom('', '-rc.1', '+5'))
  .map(([major, minor, patch, suffix]) => `${major}.${minor}.${patch}${suffix}`);

test('an assigned version is newer than all that there are', () => {
  fc.assert(
    fc.property(fc.array(version), fc.constantFrom<NextVersion>('next-major', 'next-minor', 'next-patch'), (existing, wanted) => {
      const assigned = assignVersion(existing, wanted);
      for (const one of existing) expect(compare(assigned, one)).toBe(1);
      if (existing.length === 0) expect(assigned).toBe('1.0.0');
    }),
  );
});

test.each([
  ['next-major', '2.0.0', 'major'],
  ['next-minor', '1.3.0', 'minor'],
  ['next-patch', '1.2.10', 'patch'],
] as const)('%s after 1.2.9 is %s', (wanted, expected, part) => {
  expect(assignVersion(['1.2.9', '1.2.1', '0.9.0'], wanted)).toBe(expected);
  expect(diff('1.2.9', expected)).toBe(part);
});
