// Compares the modules of a device with the version that an assignment gives it.

import { compareBuild, valid } from 'semver';
import type { ActiveAssignment, Target } from './targets.ts';

/** The modules of a device, by name. */
export type InstalledVersions = ReadonlyMap<string, string>;

export type Comparison =
  | { readonly kind: 'equal' }
  /** The device has an older version, or none. */
  | { readonly kind: 'older'; readonly detail: string }
  /** The device has a newer version of a module. It is not downgraded. */
  | { readonly kind: 'newer'; readonly detail: string };

/** Compares a device with the desired version, or with a newer one that a rollout brings now. */
export function compareWithTarget({ target, held }: Pick<ActiveAssignment, 'target' | 'held'>, installed: InstalledVersions): Comparison {
  const isInRollout = held.some((version) => version.rollout === 'open' && compareBuilds(version, installed).kind === 'equal');
  if (isInRollout) return { kind: 'equal' };
  return target === null ? { kind: 'older', detail: '' } : compareBuilds(target, installed);
}

function compareBuilds({ builds }: Target, installed: InstalledVersions): Comparison {
  const different = builds.filter(({ module, version }) => installed.get(module) !== version);
  if (different.length === 0) return { kind: 'equal' };
  const newer = different.filter(({ module, version }) => isNewer(installed.get(module), version));
  const described = newer.length > 0 ? newer : different;
  return { kind: newer.length > 0 ? 'newer' : 'older', detail: describeInstalled(described, installed) };
}

/** Returns what a device has of some modules, like `the device has tcp 1.0.0, udp is not loaded`. */
function describeInstalled(builds: Target['builds'], installed: InstalledVersions): string {
  const versions = builds.flatMap(({ module }) => (installed.has(module) ? `${module} ${installed.get(module)}` : []));
  const missing = builds.filter(({ module }) => !installed.has(module)).map(({ module }) => `${module} is not loaded`);
  return [...(versions.length === 0 ? [] : [`the device has ${versions.join(', ')}`]), ...missing].join(', ');
}

/** Returns whether an installed version is newer. A device can report a version that is not a semantic version: it counts as older. */
function isNewer(installed: string | undefined, version: string): boolean {
  return installed !== undefined && valid(installed) !== null && compareBuild(installed, version) > 0;
}
