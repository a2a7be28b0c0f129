// Roles from the claims of an identity provider.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { personRoles, rolesOf } from '../../../src/service/sign-in/role-rules.ts';

const rules = [
  { role: 'admin', value: 'platform-admins' },
  { role: 'operator', value: 'ops' },
  { role: 'viewer', value: '*' },
] as const;

test.each([
  [{ groups: ['ops', 'others'] }, 'groups', ['operator', 'viewer']],
  [{ scope: 'read ops platform-admins' }, 'scope', ['admin', 'operator', 'viewer']],
  [{ realm_access: { roles: ['ops'] } }, 'realm_access.roles', ['operator', 'viewer']],
  [{ 'https://example.com/roles': ['ops'] }, 'https://example.com/roles', ['operator', 'viewer']],
  [{ groups: { ops: true } }, 'groups', ['viewer']],
  [{ groups: [['ops'], 1, null] }, 'groups', ['viewer']],
  [{}, 'constructor.name', ['viewer']],
  [{ groups: ['*'] }, 'groups', ['viewer']],
])('%j with the claim %s gives %j', (claims, claim, expected) => {
  expect(rolesOf(claims, claim, rules)).toEqual(expected);
});

test('any claims give exactly the roles whose values are in the claim', () => {
  const value = fc.constantFrom('a', 'b', 'c', 'd');
  const rule = fc.record({ role: fc.constantFrom(...personRoles), value });
  fc.assert(
    fc.property(fc.array(value), fc.array(rule), (groups, someRules) => {
      const roles = rolesOf({ groups }, 'groups', someRules);
      for (const role of personRoles)
        expect(roles.includes(role)).toBe(someRules.some((one) => one.role === role && groups.includes(one.value)));
      expect(new Set(roles).size).toBe(roles.length);
    }),
  );
});

test('any claims and any name of a claim give no role by accident', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), (claims, claim) => {
      expect(rolesOf(claims, claim, [{ role: 'admin', value: 'a-value-that-is-not-generated' }])).toEqual([]);
    }),
  );
});
