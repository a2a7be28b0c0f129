// The text tree and the DOT graph of a device's modules.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatModuleDot, formatModuleTree } from '../../src/cli/operator/module-tree.ts';
import type { Schemas } from '../../src/client/client.ts';

type Graph = Schemas['ModuleGraph'];

/** Returns the graph of modules of version 1.0.0 that each export `f`; modules that are only imported are not in memory. */
function graphOf(links: Readonly<Record<string, readonly string[]>>): Graph {
  const version = '1.0.0';
  const toImport = (importer: string, module: string): Graph['modules'][number]['imports'][number] => {
    const facts = { module, range: module === 'ranged' ? '^2.0.0' : null, exports: ['f'], exportCount: 1 };
    if (module in links) return { ...facts, version, resolved: true, unresolved: [], unresolvedLinks: 0 };
    const link = { importer: { module: importer, version }, provider: { module, version: null } };
    return {
      ...facts,
      version: null,
      resolved: false,
      unresolved: [{ problem: 'missing', ...link, export: 'f', expected: '() → ()' }],
      unresolvedLinks: 1,
    };
  };
  const modules = Object.entries(links).map(([module, imports]) => ({
    module,
    version,
    image: '',
    importsKnown: true,
    imports: imports.map((imported) => toImport(module, imported)),
    importedBy: Object.keys(links).flatMap((importer) => (links[importer]?.includes(module) ? [{ module: importer, version }] : [])),
  }));
  return { device: '', reportedAt: null, modules, linkCount: Object.values(links).flat().length };
}

test('a tree starts with the modules that none imports, and lists unresolved links', () => {
  expect(formatModuleTree(graphOf({ tcp: ['udp'], http: ['tcp', 'tls'], udp: [], dns: ['tcp', 'ranged'] }))).toEqual([
    'http@1.0.0',
    '├── tcp@1.0.0: f',
    '│   └── udp@1.0.0: f',
    '└── tls (not in memory): f unresolved',
    'dns@1.0.0',
    '├── tcp@1.0.0: f (see above)',
    '└── ranged (not in memory) [^2.0.0]: f unresolved',
    '',
    'unresolved:',
    '  http@1.0.0 imports tls.f () → (): tls is not in memory',
    '  dns@1.0.0 imports ranged.f () → (): ranged is not in memory',
  ]);
  expect(formatModuleTree(graphOf({}))).toEqual(['no modules are in memory']);
});

test('a cycle ends', () => {
  expect(formatModuleTree(graphOf({ a: ['b'], b: ['c', 'a'], c: ['c'] }))).toEqual([
    'a@1.0.0',
    '└── b@1.0.0: f',
    '    ├── c@1.0.0: f',
    '    │   └── c@1.0.0: f (see above)',
    '    └── a@1.0.0: f (see above)',
  ]);
});

test('a tree has each link once and each module once as a parent, whatever the graph', () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const links = fc.record(Object.fromEntries(names.map((name) => [name, fc.subarray([...names, 'absent'])])));
  fc.assert(
    fc.property(links, (graph) => {
      const lines = formatModuleTree(graphOf(graph));
      const drawn = lines.slice(0, lines.includes('') ? lines.indexOf('') : lines.length);
      expect(drawn.filter((line) => line.includes('── '))).toHaveLength(Object.values(graph).flat().length);
      for (const name of names)
        expect(drawn.filter((line) => line.includes(`${name}@`) && !line.includes('see above')).length).toBeGreaterThan(0);
    }),
  );
});

test('the DOT graph has a node for each module, and marks unresolved links', () => {
  expect(formatModuleDot(graphOf({ a: ['b', 'ranged'], b: ['a'] }))).toEqual([
    'digraph modules {',
    '  node [shape=box];',
    '  "a" [label="a@1.0.0"];',
    '  "b" [label="b@1.0.0"];',
    '  "ranged" [label="ranged: not in memory", style=dashed];',
    '  "a" -> "b";',
    '  "a" -> "ranged" [label="^2.0.0", color=red, style=dashed];',
    '  "b" -> "a";',
    '}',
  ]);
});
