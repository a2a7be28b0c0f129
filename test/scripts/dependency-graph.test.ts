// The graph of imports between folders: its nodes, its edges, and errors.

import { expect, test } from 'vitest';
import { mermaidOf, nodeOf, withoutImplied } from '../../src/scripts/dependency-graph.ts';

const graph = (edges: Record<string, readonly string[]>) =>
  new Map(Object.entries(edges).map(([node, targets]) => [node, new Set(targets)]));

test('assigns files to their folders, and files of the service to groups of domains', () => {
  expect(['src/host/host.ts', 'web/pages/load/load-page.tsx', 'test/log-lines.ts', 'fs'].map(nodeOf)).toEqual(['host', 'web', null, null]);
  expect(['src/service/app.ts', 'src/service/rollbacks/routes.ts'].map(nodeOf)).toEqual([
    'service/app',
    'service/rollouts, rollbacks, load-batches, retention',
  ]);
  expect(() => nodeOf('src/service/moons/routes.ts')).toThrow(
    'src/service/moons/routes.ts has no node in the picture: add moons to serviceNodes',
  );
});

test('omits an edge that follows from others, in any order', () => {
  expect(withoutImplied(graph({ a: ['d', 'b', 'c'], b: ['c', 'd'], c: ['d'] }))).toEqual(graph({ a: ['b'], b: ['c'], c: ['d'] }));
  expect(withoutImplied(graph({ a: ['b', 'c'], b: ['d'], c: ['d'] }))).toEqual(graph({ a: ['b', 'c'], b: ['d'], c: ['d'] }));
});

test('reports folders that import each other', () => {
  expect(() => withoutImplied(graph({ a: ['b'], b: ['c'], c: ['b', 'd'] }))).toThrow('folders import each other: c → b → c');
});

test('draws domains inside the service, and folders next to it', () => {
  const drawn = mermaidOf(graph({ cli: ['service/app'], 'service/app': ['service/loads, history'] }));
  expect(drawn).toContain('  cli["cli"]\n  subgraph service\n    service0["app"]\n');
  const [, node] = /^ {4}(service\d+)\["loads<br>history"\]$/m.exec(drawn) ?? [];
  expect(drawn).toMatch(new RegExp(` {2}end\n {2}cli --> service0\n {2}service0 --> ${node}\n\`\`\`\n$`));
});
