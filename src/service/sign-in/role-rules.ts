// Maps claims of an identity provider to roles.

import type { Role } from '../roles.ts';
import { type Claims, valuesOfClaim } from './claims.ts';

/** The roles that people can have: the role `agent` is for keys of hosts. */
export const personRoles = ['viewer', 'operator', 'publisher', 'admin'] as const satisfies readonly Role[];
export type PersonRole = (typeof personRoles)[number];

/** A value of the role claim, and the role that it gives. The value `*` gives the role to everyone whom the provider knows. */
export type RoleRule = { readonly role: PersonRole; readonly value: string };

/** Returns the roles that the claims of a person give, in the order of the rules. @param claim Name of the claim, as `valuesOfClaim` reads it. */
export function rolesOf(claims: Claims, claim: string, rules: readonly RoleRule[]): PersonRole[] {
  const values = valuesOfClaim(claims, claim);
  return [...new Set(rules.filter(({ value }) => values.has(value)).map(({ role }) => role))];
}
