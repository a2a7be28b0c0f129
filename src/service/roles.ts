// The roles of API keys, and what each may do.

export const roles = ['viewer', 'operator', 'publisher', 'admin', 'agent'] as const;
export type Role = (typeof roles)[number];

/** What each role may do: all that these roles may. */
const included: Readonly<Record<Role, readonly Role[]>> = {
  viewer: ['viewer'],
  operator: ['viewer', 'operator'],
  publisher: ['viewer', 'publisher'],
  admin: ['viewer', 'operator', 'publisher', 'admin'],
  agent: ['agent'],
};

/** The roles for which something is needed that a holder of this role may do. */
export function grantedRoles(role: Role): Role[] {
  return [...included[role]];
}

/** Whether a holder of one role may do what another is needed for. */
export function grantsRole(role: Role, needed: Role): boolean {
  return included[role].includes(needed);
}

/** The roles of whose holders each may do what this role is needed for. */
export function rolesGranting(needed: Role): Role[] {
  return roles.filter((role) => grantsRole(role, needed));
}

/** What every key begins with, and no other token that the service makes. */
export const keyPrefix = 'patchbay_';

/** Who shows a key. */
export type KeyHolder = { readonly id: string; readonly role: Role; readonly host: string | null };
