// Decides whether a patch set can drain. Used by the device that loads it and by load forecasts.

import type { Stamp } from '../images/stamp.ts';
import { sanitizeReason } from '../reason.ts';
import type { Strategy } from './load-report.ts';
import { compareInterfaces } from './similarity.ts';

/** A member of a patch set, with its versions after and before the load. */
export type DrainedMember = {
  readonly module: string;
  /** Null: the load unloads the module. */
  readonly arriving: Pick<Stamp, 'version' | 'interface'> | null;
  /** Null: the module is not in memory. */
  readonly previous: Pick<Stamp, 'module' | 'version' | 'interface'> | null;
};

export type DrainConflict = {
  readonly module: string;
  readonly refusal: { readonly outcome: 'refused-dissimilar'; readonly reason: string };
};

/**
 * Returns the first member that changes the type of an export which an old version of the set imports, or null. While a patch set drains, old versions
 * call each other through the addresses of new ones, so that the types must be the same. No conflict without a drain.
 */
export function findDrainConflict(members: readonly DrainedMember[], strategy: Strategy): DrainConflict | null {
  if (strategy === 'inject') return null;
  for (const { module, arriving, previous } of members) {
    if (arriving === null || previous === null) continue;
    const changed = new Set(compareInterfaces(previous.interface, arriving.interface).changed);
    for (const { previous: importer } of members) {
      const imported = importer?.interface.imports.find((candidate) => candidate.module === module && changed.has(candidate.name));
      if (importer === null || imported === undefined) continue;
      const reason = `${module}@${arriving.version} changes the type of ${imported.name}, which ${importer.module}@${importer.version} imports: old and new versions cannot run side by side; use strategy inject`;
      return { module, refusal: { outcome: 'refused-dissimilar', reason: sanitizeReason(reason) } };
    }
  }
  return null;
}
