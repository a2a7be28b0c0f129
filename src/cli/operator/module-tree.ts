// Draws the module graph of a device: as a tree for people, or in the DOT language of Graphviz.

import type { Schemas } from '../../client/client.ts';
import { describeUnresolvedLink } from '../../client/link-text.ts';
import { colour } from '../terminal/colours.ts';

type Graph = Schemas['ModuleGraph'];
type Module = Graph['modules'][number];
type Import = Module['imports'][number];

/** Maximum exports that a line names. */
const namedExports = 5;

/**
 * Returns the lines of a tree. Modules that no module imports are at the top, and each module is expanded where it first appears, so that cycles end.
 */
export function formatModuleTree({ modules, linkCount }: Graph): string[] {
  if (modules.length === 0) return ['no modules are in memory'];
  const tree = new Tree(modules);
  const roots = modules.filter(({ importedBy }) => importedBy.length === 0);
  // Modules of a cycle that nothing outside imports are no roots, and remain.
  const lines = [...roots, ...modules].flatMap((module) => (tree.isDrawn(module) ? [] : tree.draw(module)));
  const links = modules.flatMap(({ imports }) => imports);
  const omitted = linkCount - links.length;
  return [
    ...lines,
    ...(omitted > 0 ? ['', `${omitted} more links are not shown`] : []),
    ...describeProblems(links.filter(({ resolved }) => resolved === false)),
  ];
}

/** Draws each module once. */
class Tree {
  readonly #modules: ReadonlyMap<string, Module>;
  readonly #drawn = new Set<string>();

  constructor(modules: readonly Module[]) {
    this.#modules = new Map(modules.map((module) => [module.module, module]));
  }

  isDrawn({ module }: Module): boolean {
    return this.#drawn.has(module);
  }

  /** Returns the line of a module that is not drawn yet, and the lines of what it imports, without recursion: a chain may be long. */
  draw(root: Module): string[] {
    const lines = [describeModule(root)];
    this.#drawn.add(root.module);
    const pending = branchesOf(root, '');
    for (let branch = pending.pop(); branch !== undefined; branch = pending.pop()) {
      const { link, indent, isLast } = branch;
      const imported = this.#modules.get(link.module);
      const isExpanded = imported !== undefined && !this.isDrawn(imported);
      const isRepeated = imported !== undefined && !isExpanded && imported.imports.length > 0;
      lines.push(`${indent}${isLast ? '└── ' : '├── '}${describeImport(link)}${isRepeated ? ' (see above)' : ''}`);
      if (!isExpanded) continue;
      this.#drawn.add(imported.module);
      pending.push(...branchesOf(imported, `${indent}${isLast ? '    ' : '│   '}`));
    }
    return lines;
  }
}

/** Returns the imports of a module, last first. */
function branchesOf({ imports }: Module, indent: string): { readonly link: Import; readonly indent: string; readonly isLast: boolean }[] {
  return imports.map((link, index) => ({ link, indent, isLast: index === imports.length - 1 })).toReversed();
}

function describeModule({ module, version, importsKnown }: Module): string {
  return `${module}@${version}${importsKnown ? '' : ' (the service has no build of it: its imports are unknown)'}`;
}

function describeImport({ module, version, range, resolved, exports, exportCount }: Import): string {
  const name = version === null ? `${module} (not in memory)` : `${module}@${version}`;
  const named = exports.slice(0, namedExports).join(', ');
  const more = exportCount > namedExports ? ` and ${exportCount - namedExports} more` : '';
  const state = resolved === null ? ' unknown' : resolved ? '' : ` ${colour('red', 'unresolved')}`;
  return `${name}${range === null ? '' : ` [${range}]`}${exportCount === 0 ? '' : `: ${named}${more}`}${state}`;
}

function describeProblems(links: readonly Import[]): string[] {
  if (links.length === 0) return [];
  const count = links.reduce((sum, { unresolvedLinks }) => sum + unresolvedLinks, 0);
  const named = links.flatMap(({ unresolved }) => unresolved.map((link) => `  ${describeUnresolvedLink(link)}`));
  const more = count - named.length;
  return ['', 'unresolved:', ...named, ...(more > 0 ? [`  ${more} more`] : [])];
}

/** Returns a graph in the DOT language. Links that are not resolved are red and dashed. */
export function formatModuleDot({ modules }: Graph): string[] {
  const nodes = new Map(modules.map(({ module, version }) => [module, `${module}@${version}`]));
  const absent = new Set(modules.flatMap(({ imports }) => imports.flatMap(({ module }) => (nodes.has(module) ? [] : [module]))));
  const edges = modules.flatMap(({ module, imports }) =>
    imports.map((link) => {
      const attributes = [
        ...(link.range === null ? [] : [`label=${quote(link.range)}`]),
        ...(link.resolved === false ? [unresolvedStyle] : []),
      ];
      return `  ${quote(module)} -> ${quote(link.module)}${attributes.length === 0 ? '' : ` [${attributes.join(', ')}]`};`;
    }),
  );
  return [
    'digraph modules {',
    '  node [shape=box];',
    ...[...nodes].map(([module, label]) => `  ${quote(module)} [label=${quote(label)}];`),
    ...[...absent].map((module) => `  ${quote(module)} [label=${quote(`${module}: not in memory`)}, style=dashed];`),
    ...edges,
    '}',
  ];
}

const unresolvedStyle = 'color=red, style=dashed';

const quote = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
