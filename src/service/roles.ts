// The roles of API keys.

export const roles = ['viewer', 'operator', 'publisher', 'admin', 'agent'] as const;
export type Role = (typeof roles)[number];

/** The roles that each role includes. */
const included: Readonly<Record<Role, readonly Role[]>> = {
  viewer: ['viewer'],
  operator: ['viewer', 'operator'],
  publisher: ['viewer', 'publisher'],
  admin: ['viewer', 'operator', 'publisher', 'admin'],
  agent: ['agent'],
};

/** Returns the roles that a role includes, itself among them. */
export function grantedRoles(role: Role): Role[] {
  return [...included[role]];
}

/** Returns whether a role includes another. */
export function grantsRole(role: Role, needed: Role): boolean {
  return included[role].includes(needed);
}

/** Returns the roles that include a role. */
export function rolesGranting(needed: Role): Role[] {
  return roles.filter((role) => grantsRole(role, needed));
}

/** The prefix of every API key; no other token of the service begins with it. */
export const keyPrefix = 'patchbay_';

/** The holder of an API key. */
export type KeyHolder = { readonly id: string; readonly role: Role; readonly host: string | null };
