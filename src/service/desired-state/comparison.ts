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
  const detail = described.map(({ module }) => `${module} ${installed.get(module) ?? 'is not loaded'}`).join(', ');
  return { kind: newer.length > 0 ? 'newer' : 'older', detail: `the device has ${detail}` };
}

/** Returns whether an installed version is newer. A device can report a version that is not a semantic version: it counts as older. */
function isNewer(installed: string | undefined, version: string): boolean {
  return installed !== undefined && valid(installed) !== null && compareBuild(installed, version) > 0;
}
