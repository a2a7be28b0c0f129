// Decides whether a patch set can drain. Used by the device that loads it and by load forecasts.

import { isSameFunctionType } from '../images/function-type.ts';
import type { Stamp } from '../images/stamp.ts';
import { sanitizeReason } from '../reason.ts';
import type { Strategy } from './load-report.ts';
import { compareInterfaces } from './similarity.ts';

/** The part of a module that the rule depends on. */
type DrainedModule = Pick<Stamp, 'module' | 'version' | 'interface'>;

export type DrainConflict = {
  readonly module: string;
  readonly refusal: { readonly outcome: 'refused-dissimilar'; readonly reason: string };
};

/**
 * Returns the first arriving version that changes the type of an export which a module in memory imports, or null. While a patch set drains, old versions
 * are called through the addresses of new ones, by each other and by modules between them, so that the types must be the same. No conflict without a drain.
 */
export function findDrainConflict(
  { arriving, inMemory }: { readonly arriving: readonly DrainedModule[]; readonly inMemory: readonly DrainedModule[] },
  strategy: Strategy,
): DrainConflict | null {
  if (strategy === 'inject') return null;
  for (const { module, version, interface: next } of arriving) {
    const previous = inMemory.find((loaded) => loaded.module === module);
    if (previous === undefined) continue;
    const names = new Set(compareInterfaces(previous.interface, next).changed);
    const changed = previous.interface.exports.filter(({ name }) => names.has(name));
    for (const importer of changed.length === 0 ? [] : inMemory) {
      const imported = importer.interface.imports.find(
        (link) => link.module === module && changed.some((exported) => exported.name === link.name && isSameFunctionType(exported, link)),
      );
      if (imported === undefined) continue;
      const reason = `${module}@${version} changes the type of ${imported.name}, which ${importer.module}@${importer.version} imports: old and new versions cannot run side by side; use strategy inject`;
      return { module, refusal: { outcome: 'refused-dissimilar', reason: sanitizeReason(reason) } };
    }
  }
  return null;
}
