// Reads the claims of an identity provider.

export type Claims = Readonly<Record<string, unknown>>;

/**
 * Returns the values of a claim, and `*`, which everyone has.
 * @param claim Name of the claim, or the path to it within claims, such as `realm_access.roles`. Its value is a list, or a text with values between spaces.
 */
export function valuesOfClaim(claims: Claims, claim: string): ReadonlySet<string> {
  return new Set(['*', ...valuesOf(findClaim(claims, claim))]);
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
