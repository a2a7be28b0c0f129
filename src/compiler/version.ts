// The version number of a build (patent claim 2): the caller's, or the next after those that the module has.

import { inc, rsort } from 'semver';

/** Asks for a version instead of naming one. */
export const nextVersions = { 'next-major': 'major', 'next-minor': 'minor', 'next-patch': 'patch' } as const;
export type NextVersion = keyof typeof nextVersions;

/** Whether a version is asked for, and not named. */
export function isNextVersion(version: string): version is NextVersion {
  return Object.hasOwn(nextVersions, version);
}

/** The version after the highest of those given, by semantic versioning; the first is 1.0.0. */
export function assignVersion(existing: readonly string[], wanted: NextVersion): string {
  const [highest] = rsort([...existing]);
  return (highest === undefined ? null : inc(highest, nextVersions[wanted])) ?? '1.0.0';
}
