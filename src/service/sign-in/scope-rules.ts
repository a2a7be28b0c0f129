// Maps claims of an identity provider to scopes: the devices that people can use.

import { type LabelSelector, uniteSelectors } from '../../protocol/label-selector.ts';
import { type Claims, valuesOfClaim } from './claims.ts';
import type { PersonRole } from './role-rules.ts';

/** A value of the scope claim, and the devices that it gives; null: all. The value `*` gives them to everyone whom the provider knows. */
export type ScopeRule = { readonly value: string; readonly selector: LabelSelector | null };

export const unmatchedScopes = ['refuse', 'all-devices'] as const;

export type ScopeRules = {
  /** Name of the claim, as `valuesOfClaim` reads it. */
  readonly claim: string;
  readonly rules: readonly ScopeRule[];
  /** The devices of people with whom no rule matches: none, or all. */
  readonly unmatched: (typeof unmatchedScopes)[number];
};

/**
 * Returns the scope that the claims of a person give: the devices of all rules that match. Null: all devices, as for administrators and without rules.
 * An empty union of selectors, which no device matches: none.
 */
export function scopeFrom(claims: Claims, roles: readonly PersonRole[], { claim, rules, unmatched }: ScopeRules): LabelSelector | null {
  if (rules.length === 0 || roles.includes('admin')) return null;
  const values = valuesOfClaim(claims, claim);
  const matching = rules.filter(({ value }) => values.has(value)).map(({ selector }) => selector);
  if (matching.length === 0 && unmatched === 'all-devices') return null;
  const selectors = matching.filter((selector) => selector !== null);
  return selectors.length < matching.length ? null : uniteSelectors(selectors);
}

/** Returns whether a scope can contain no device. */
export function isEmptyScope(scope: LabelSelector | null): boolean {
  return scope?.some((condition) => 'anyOf' in condition && condition.anyOf.length === 0) ?? false;
}
