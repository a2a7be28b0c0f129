// Maps claims of an identity provider to roles.

import type { Role } from '../roles.ts';

/** The roles that people can have: the role `agent` is for keys of hosts. */
export const personRoles = ['viewer', 'operator', 'publisher', 'admin'] as const satisfies readonly Role[];
export type PersonRole = (typeof personRoles)[number];

/** A value of the role claim, and the role that it gives. The value `*` gives the role to everyone whom the provider knows. */
export type RoleRule = { readonly role: PersonRole; readonly value: string };

export type Claims = Readonly<Record<string, unknown>>;

/**
 * Returns the roles that the claims of a person give, in the order of the rules.
 * @param claim Name of the claim, or the path to it within claims, such as `realm_access.roles`. Its value is a list, or a text with values between spaces.
 */
export function rolesOf(claims: Claims, claim: string, rules: readonly RoleRule[]): PersonRole[] {
  const values = new Set(['*', ...valuesOf(findClaim(claims, claim))]);
  return [...new Set(rules.filter(({ value }) => values.has(value)).map(({ role }) => role))];
}

/** Returns a claim: by its whole name, because names may be URLs, otherwise by its path. */
function findClaim(claims: Claims, claim: string): unknown {
  if (Object.hasOwn(claims, claim)) return claims[claim];
  return claim
    .split('.')
    .reduce<unknown>((value, name) => (isClaims(value) && Object.hasOwn(value, name) ? value[name] : undefined), claims);
}

function valuesOf(claim: unknown): string[] {
  if (typeof claim === 'string') return claim.split(' ');
  return Array.isArray(claim) ? claim.filter((value): value is string => typeof value === 'string') : [];
}

function isClaims(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
