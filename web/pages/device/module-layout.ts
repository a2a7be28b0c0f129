// Layered layout of a module graph: importers above what they import. Links of a cycle that point upwards do not move modules.

import type { Schemas } from '../../../src/client/client.ts';

type Link = Schemas['DeviceLink'];

export type Node = {
  readonly module: string;
  readonly label: string;
  readonly isAbsent: boolean;
  /** The centre of the node. */
  readonly x: number;
  readonly y: number;
  readonly width: number;
};
export type Edge = { readonly link: Link; readonly path: string; readonly label: { readonly x: number; readonly y: number } };
export type Layout = { readonly nodes: readonly Node[]; readonly edges: readonly Edge[]; readonly width: number; readonly height: number };

/** Sizes in units of the picture, which are pixels at full size. */
export const nodeHeight = 30;
const sizes = { character: 7.3, padding: 20, gap: 26, layer: 92, margin: 14, loop: 34 } as const;

/** Computes positions of all modules that links name, and of the others in memory. */
export function layOutModules(modules: readonly { readonly module: string; readonly version: string }[], links: readonly Link[]): Layout {
  const versions = new Map(modules.map(({ module, version }) => [module, version]));
  const names = [...new Set([...versions.keys(), ...links.flatMap(({ importer, provider }) => [importer.module, provider.module])])];
  const targets = Map.groupBy(links, ({ importer }) => importer.module);
  const rows = orderRows(names, layersOf(names, targets), links);
  const labelOf = (module: string) => (versions.has(module) ? `${module}@${versions.get(module)}` : module);
  const widthOf = (module: string) => sizes.padding + sizes.character * labelOf(module).length;
  const rowWidth = (row: readonly string[]) => row.reduce((sum, module) => sum + widthOf(module), sizes.gap * (row.length - 1));
  const inner = Math.max(0, ...rows.map(rowWidth));
  const nodes = rows.flatMap((row, layer) => {
    let left = sizes.margin + (inner - rowWidth(row)) / 2;
    return row.map((module): Node => {
      const width = widthOf(module);
      const x = left + width / 2;
      left += width + sizes.gap;
      return {
        module,
        label: labelOf(module),
        isAbsent: !versions.has(module),
        x,
        y: sizes.margin + nodeHeight / 2 + layer * sizes.layer,
        width,
      };
    });
  });
  const places = new Map(nodes.map((node) => [node.module, node]));
  const edges = links.flatMap((link) => {
    const [from, to] = [places.get(link.importer.module), places.get(link.provider.module)];
    return from === undefined || to === undefined ? [] : [{ link, ...route(from, to) }];
  });
  const height = 2 * sizes.margin + nodeHeight + sizes.layer * Math.max(0, rows.length - 1);
  return { nodes, edges, width: inner + 2 * sizes.margin + sizes.loop, height };
}

/** Returns the layer of each module: one more than that of its importers, without the links that close a cycle. */
function layersOf(names: readonly string[], targets: ReadonlyMap<string, readonly Link[]>): Map<string, number> {
  const finished: string[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const forward = new Map<string, string[]>();
  const visit = (module: string) => {
    if (state.has(module)) return;
    state.set(module, 'open');
    for (const { provider } of targets.get(module) ?? []) {
      if (state.get(provider.module) === 'open') continue;
      forward.set(module, [...(forward.get(module) ?? []), provider.module]);
      visit(provider.module);
    }
    state.set(module, 'done');
    finished.push(module);
  };
  const imported = new Set([...targets.values()].flat().map(({ provider }) => provider.module));
  for (const module of [...names.filter((name) => !imported.has(name)), ...names]) visit(module);
  const layers = new Map(names.map((name) => [name, 0]));
  // Importers finish after what they import.
  for (const module of finished.toReversed())
    for (const below of forward.get(module) ?? []) layers.set(below, Math.max(layers.get(below) ?? 0, (layers.get(module) ?? 0) + 1));
  return layers;
}

/** Returns the modules of each layer, each near the mean position of its importers. */
function orderRows(names: readonly string[], layers: ReadonlyMap<string, number>, links: readonly Link[]): string[][] {
  const importers = Map.groupBy(links, ({ provider }) => provider.module);
  const position = new Map<string, number>();
  const depth = Math.max(-1, ...layers.values());
  return Array.from({ length: depth + 1 }, (_, layer) => {
    const meanOf = (module: string) => {
      const above = (importers.get(module) ?? []).flatMap(({ importer }) => position.get(importer.module) ?? []);
      return above.length === 0 ? Number.POSITIVE_INFINITY : above.reduce((sum, place) => sum + place, 0) / above.length;
    };
    const row = names.filter((name) => layers.get(name) === layer).toSorted((left, right) => meanOf(left) - meanOf(right) || 0);
    for (const [index, module] of row.entries()) position.set(module, row.length === 1 ? 0.5 : index / (row.length - 1));
    return row;
  });
}

/** Returns the curve of a link: downwards, or around the right side to a module that is not below. */
function route(from: Node, to: Node): Pick<Edge, 'path' | 'label'> {
  const half = nodeHeight / 2;
  if (to.y > from.y) {
    const [top, bottom] = [from.y + half, to.y - half];
    const bend = (bottom - top) / 2;
    return {
      path: `M${from.x} ${top}C${from.x} ${top + bend} ${to.x} ${bottom - bend} ${to.x} ${bottom}`,
      label: { x: (from.x + to.x) / 2, y: (top + bottom) / 2 },
    };
  }
  const [start, end] = [from.x + from.width / 2, to.x + to.width / 2];
  const out = Math.max(start, end) + sizes.loop;
  const [leave, arrive] = [from.y - 6, to.y + 6];
  return { path: `M${start} ${leave}C${out} ${leave} ${out} ${arrive} ${end} ${arrive}`, label: { x: out - 8, y: (leave + arrive) / 2 } };
}
