// Dependencies of builds on other modules: imports, and declared ranges of versions.

import { kernelNamespace } from '../../machine/abi.ts';
import { findUnresolvedLinks, type LinkedModule } from '../../machine/isolation/link-policy.ts';
import type { Connection } from '../database/connection.ts';
import { readLinkedModule } from './linked-module.ts';
import { type BuildRecord, BuildRecords } from './repository.ts';

/** What a module requires of another one. */
export type Dependency = {
  readonly module: string;
  /** The declared range of versions; null if none is declared. */
  readonly range: string | null;
  /** The imported exports; none if only a range is declared. */
  readonly exports: readonly string[];
};

/** The newest build of a module that depends on a module. `resolved`: whether a given version provides what the build requires. */
export type Dependent = { readonly module: string; readonly version: string; readonly range: string | null; readonly resolved: boolean };

/** Builds that are in memory at once when dependents are restored. */
const buildsReadAtOnce = 20;
/** Maximum dependents of a build in a response. */
export const dependentLimit = 20;

/** Returns the modules that a module depends on, sorted by name. */
export function dependenciesOf({ interface: { imports }, dependencies }: Pick<LinkedModule, 'interface' | 'dependencies'>): Dependency[] {
  const exports = new Map<string, string[]>(Object.keys(dependencies).map((module) => [module, []]));
  for (const { module, name } of imports) {
    if (module === kernelNamespace) continue;
    const names = exports.get(module) ?? [];
    exports.set(module, names);
    names.push(name);
  }
  return [...exports]
    .map(([module, names]) => ({ module, range: dependencies[module] ?? null, exports: names }))
    .toSorted((left, right) => (left.module < right.module ? -1 : 1));
}

/** Returns the modules that depend on the module of a build, those with the newest builds first. */
export async function findDependents(connection: Connection, build: BuildRecord): Promise<Dependent[]> {
  const provider = readLinkedModule(build);
  const dependents = await new BuildRecords(connection).findDependents(build.module, dependentLimit);
  return dependents.flatMap((record) => {
    const importer = readLinkedModule(record);
    if (importer === null) return [];
    const { module, version, dependencies } = importer;
    const resolved = provider !== null && isResolved(importer, provider);
    return [{ module, version, range: dependencies[build.module] ?? null, resolved }];
  });
}

/** Records the newest build of a module that depends on each of these modules, after the one that did was deleted. */
export async function restoreDependents(connection: Connection, module: string, providers: readonly string[]): Promise<void> {
  const records = new BuildRecords(connection);
  let missing: ReadonlySet<string> = new Set(providers);
  for (let offset = 0; missing.size > 0; offset += buildsReadAtOnce) {
    const builds = await records.listNewest(module, { limit: buildsReadAtOnce, offset });
    for (const build of builds) {
      const importer = readLinkedModule(build);
      const required = importer === null ? [] : dependenciesOf(importer).flatMap((each) => (missing.has(each.module) ? [each.module] : []));
      await records.recordDependencies(build, required);
      missing = missing.difference(new Set(required));
    }
    if (builds.length < buildsReadAtOnce) return;
  }
}

function isResolved(importer: LinkedModule, provider: LinkedModule): boolean {
  const unresolved = findUnresolvedLinks({ arriving: [importer], inMemory: [provider] });
  return unresolved.every((link) => link.provider.module !== provider.module);
}
