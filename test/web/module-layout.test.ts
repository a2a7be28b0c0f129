// The layout of the picture of modules.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { layOutModules, nodeHeight } from '../../web/pages/device/module-layout.ts';

const version = '1.0.0';
const names = ['a', 'b', 'c', 'd', 'e', 'f'];
type Pair = readonly [importer: string, provider: string];
const layOut = (inMemory: readonly string[], pairs: readonly Pair[]) =>
  layOutModules(
    inMemory.map((module) => ({ module, version })),
    pairs.map(([importer, provider]) => ({
      importer: { module: importer, version },
      provider: { module: provider, version: inMemory.includes(provider) ? version : null },
      range: null,
      resolved: inMemory.includes(provider),
    })),
  );
/** Links between distinct modules; also such as form cycles. */
const pairsOf = (isAllowed: (pair: Pair) => boolean) =>
  fc.subarray(names.flatMap((importer) => [...names, 'absent'].map((provider): Pair => [importer, provider])).filter(isAllowed));

test('modules do not overlap and are inside the picture, also in cycles', () => {
  fc.assert(
    fc.property(
      pairsOf(() => true),
      (pairs) => {
        const { nodes, edges, width, height } = layOut(names, pairs);
        expect(edges).toHaveLength(pairs.length);
        expect(new Set(nodes.map(({ module }) => module))).toEqual(new Set([...names, ...pairs.map(([, provider]) => provider)]));
        for (const node of nodes) {
          expect(node.x - node.width / 2).toBeGreaterThanOrEqual(0);
          expect(node.x + node.width / 2).toBeLessThanOrEqual(width);
          expect(node.y + nodeHeight / 2).toBeLessThanOrEqual(height);
          const beside = nodes.filter((other) => other !== node && other.y === node.y);
          for (const other of beside) expect(Math.abs(node.x - other.x)).toBeGreaterThan((node.width + other.width) / 2);
        }
      },
    ),
  );
});

test('without a cycle, all arrows point downwards', () => {
  fc.assert(
    fc.property(
      pairsOf(([importer, provider]) => importer < provider || provider === 'absent'),
      (pairs) => {
        const places = new Map(layOut(names, pairs).nodes.map(({ module, y }) => [module, y]));
        for (const [importer, provider] of pairs) expect(places.get(provider)).toBeGreaterThan(places.get(importer) ?? Number.NaN);
      },
    ),
  );
});
