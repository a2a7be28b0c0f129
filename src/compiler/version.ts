// The version number of a build (patent claim 2): the caller's, or the next after those that the module has.

import { gt, inc, rsort, valid } from 'semver';

/** Asks for a version instead of naming one. */
export const versionBumps = { 'next-major': 'major', 'next-minor': 'minor', 'next-patch': 'patch' } as const;
export type VersionBump = keyof typeof versionBumps;

/** Whether a version is asked for, and not named. */
export function isVersionBump(version: string): version is VersionBump {
  return Object.hasOwn(versionBumps, version);
}

/** Returns the highest of those versions, by semantic versioning; null if there is none. */
export function highestVersion(existing: readonly string[]): string | null {
  return rsort([...existing])[0] ?? null;
}

/** Returns the version after the highest of those given; the first is 1.0.0. Null if there is none after it: numbers end at 9007199254740991. */
export function bumpVersion(existing: readonly string[], wanted: VersionBump): string | null {
  const highest = highestVersion(existing);
  if (highest === null) return '1.0.0';
  const next = inc(highest, versionBumps[wanted]);
  return next !== null && valid(next) === next && gt(next, highest) ? next : null;
}
