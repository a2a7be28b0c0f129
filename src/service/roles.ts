// The roles of API keys.

import type { LabelSelector } from '../protocol/label-selector.ts';

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

/** Returns the roles that some roles include, themselves among them. */
export function includedRoles(granted: readonly Role[]): Role[] {
  return roles.filter((role) => grantRole(granted, role));
}

/** Returns whether one of the roles includes another. */
export function grantRole(granted: readonly Role[], needed: Role): boolean {
  return granted.some((role) => included[role].includes(needed));
}

/** Returns the roles that include a role. */
export function rolesGranting(needed: Role): Role[] {
  return roles.filter((role) => grantRole([role], needed));
}

/** The roles that can have a scope. An administrator changes the whole fleet, and a host registers with its own name. */
export const rolesWithScope = ['viewer', 'operator', 'publisher'] as const satisfies readonly Role[];

/** The prefix of every API key; no other token of the service begins with it. */
export const keyPrefix = 'patchbay_';

/** The holder of an API key. */
export type KeyHolder = {
  readonly id: string;
  readonly role: Role;
  readonly host: string | null;
  /** When the key stops working; null: never. */
  readonly expiresAt: Date | null;
  /** Maximum requests a minute; null: the limit of the service. */
  readonly requestsPerMinute: number | null;
  /** The devices that it can use; null: all. */
  readonly scope: LabelSelector | null;
};

/** A person or another client whom the identity provider knows. */
export type UserHolder = {
  readonly id: string;
  readonly roles: readonly Role[];
  readonly expiresAt: Date;
  /** The devices that the user can use; null: all. */
  readonly scope: LabelSelector | null;
};

/** A key or user whose roles or scope do not allow a request. */
export type Denied = { readonly kind: 'key' | 'user'; readonly id: string; readonly roles: readonly Role[] };
/** What a denied request needs: a role, or a key or user without this scope. */
export type DenialCause = { readonly needed: Role } | { readonly scope: string };
