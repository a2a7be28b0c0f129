// Assigns the version of a build (patent claim 2): the caller's, or the next after the existing versions of the module.

import { gt, inc, rsort, valid } from 'semver';

/** Values of a version parameter that request the next version instead of a specific one, with the part that they increment. */
export const versionBumps = { 'next-major': 'major', 'next-minor': 'minor', 'next-patch': 'patch' } as const;
export type VersionBump = keyof typeof versionBumps;

/** Returns whether a version parameter requests the next version. */
export function isVersionBump(version: string): version is VersionBump {
  return Object.hasOwn(versionBumps, version);
}

/** Returns the version with the highest precedence (semver.org 2.0.0); null if there is none. */
export function highestVersion(existing: readonly string[]): string | null {
  return rsort([...existing])[0] ?? null;
}

/**
 * Returns the version after the highest usable one, or after the highest one if none is usable; 1.0.0 if there is none; null if a number would exceed
 * 9007199254740991. Existing versions are never assigned again.
 * @param usable The existing versions without yanked ones.
 */
export function bumpVersion(existing: readonly string[], bump: VersionBump, usable: readonly string[] = existing): string | null {
  const taken = new Set(existing);
  const highest = highestVersion(usable) ?? highestVersion(existing);
  if (highest === null) return '1.0.0';
  for (let last = highest; ; ) {
    const next: string | null = inc(last, versionBumps[bump]);
    if (next === null || valid(next) !== next || !gt(next, last)) return null;
    if (!taken.has(next)) return next;
    last = next;
  }
}
