// The module graph of a device: which modules in memory depend on which, and the links that nothing resolves.

import { findUnresolvedLinks, type LinkDecision, type LinkedModule } from '../../machine/isolation/link-policy.ts';
import { dependenciesOf } from '../modules/dependencies.ts';

/** Maximum modules of a device whose imports are read, links of a graph, and links in the short form of a graph. */
export const graphLimits = { modules: 1_000, links: 2_000, shortLinks: 200, exports: 20, unresolved: 10 } as const;

type ModuleVersion = { readonly module: string; readonly version: string };
/** A module in memory, as the device reported it. */
type ReportedModule = ModuleVersion & { readonly image: string };

/** A dependency of one module on another. */
export type ModuleLink = {
  readonly importer: ModuleVersion;
  /** `version` is null if the module is not in memory. */
  readonly provider: { readonly module: string; readonly version: string | null };
  /** The declared range of versions; null if none is declared. */
  readonly range: string | null;
  /** The imported exports; none if only a range is declared. */
  readonly exports: readonly string[];
  /** Null if the exports of the module in memory are unknown. */
  readonly resolved: boolean | null;
  readonly unresolved: LinkDecision['unresolved'];
};

export type ModuleGraph = {
  /** `isKnown`: whether the imports of the module are known. */
  readonly modules: readonly (ReportedModule & { readonly isKnown: boolean })[];
  /** The links: the first `graphLimits.links`. */
  readonly links: readonly ModuleLink[];
  readonly linkCount: number;
};

/**
 * Builds the graph of a device.
 * @param table The module table.
 * @param known What is known of the images in the table, by digest.
 */
export function buildModuleGraph(table: readonly ReportedModule[], known: ReadonlyMap<string, LinkedModule>): ModuleGraph {
  const inMemory = table.flatMap(({ image }) => known.get(image) ?? []);
  const versions = new Map(table.map(({ module, version }) => [module, version]));
  const readable = new Set(inMemory.map(({ module }) => module));
  const unresolved = Map.groupBy(findUnresolvedLinks({ arriving: inMemory, inMemory: [] }), ({ importer, provider }) =>
    keyOf(importer.module, provider.module),
  );
  const links = inMemory.flatMap((importer) =>
    dependenciesOf(importer).map(({ module: provider, range, exports }): ModuleLink => {
      const version = versions.get(provider) ?? null;
      const isUnknown = version !== null && !readable.has(provider);
      const problems = isUnknown ? [] : (unresolved.get(keyOf(importer.module, provider)) ?? []);
      return {
        importer: { module: importer.module, version: importer.version },
        provider: { module: provider, version },
        range,
        exports,
        resolved: isUnknown ? null : problems.length === 0,
        unresolved: problems,
      };
    }),
  );
  const modules = table.map((entry) => ({ ...entry, isKnown: known.has(entry.image) }));
  return { modules, links: links.slice(0, graphLimits.links), linkCount: links.length };
}

const keyOf = (importer: string, provider: string) => `${importer} ${provider}`;
