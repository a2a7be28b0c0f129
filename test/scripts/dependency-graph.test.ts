// The picture of imports between folders: what becomes a node, which arrows it has, and when it cannot be drawn.

import { expect, test } from 'vitest';
import { mermaidOf, nodeOf, withoutImplied } from '../../src/scripts/dependency-graph.ts';

const graph = (edges: Record<string, readonly string[]>) =>
  new Map(Object.entries(edges).map(([node, targets]) => [node, new Set(targets)]));

test('files belong to their folders, and those of the service to groups of domains', () => {
  expect(['src/host/host.ts', 'web/pages/load/load-page.tsx', 'test/log-lines.ts', 'fs'].map(nodeOf)).toEqual(['host', 'web', null, null]);
  expect(['src/service/app.ts', 'src/service/rollbacks/routes.ts'].map(nodeOf)).toEqual([
    'service/app',
    'service/rollouts, rollbacks, retention',
  ]);
  expect(() => nodeOf('src/service/moons/routes.ts')).toThrow(
    'src/service/moons/routes.ts has no node in the picture: add moons to serviceNodes',
  );
});

test('an arrow that follows from others is left out, whatever their order', () => {
  expect(withoutImplied(graph({ a: ['d', 'b', 'c'], b: ['c', 'd'], c: ['d'] }))).toEqual(graph({ a: ['b'], b: ['c'], c: ['d'] }));
  expect(withoutImplied(graph({ a: ['b', 'c'], b: ['d'], c: ['d'] }))).toEqual(graph({ a: ['b', 'c'], b: ['d'], c: ['d'] }));
});

test('folders that import each other are named', () => {
  expect(() => withoutImplied(graph({ a: ['b'], b: ['c'], c: ['b', 'd'] }))).toThrow('folders import each other: c → b → c');
});

test('domains are drawn inside of the service, and folders beside it', () => {
  const drawn = mermaidOf(graph({ cli: ['service/app'], 'service/app': ['service/loads, history'] }));
  expect(drawn).toContain('  cli["cli"]\n  subgraph service\n    service0["app"]\n');
  expect(drawn).toContain('    service3["loads<br>history"]\n');
  expect(drawn).toMatch(/ {2}end\n {2}cli --> service0\n {2}service0 --> service3\n```\n$/);
});
