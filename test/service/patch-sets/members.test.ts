// The validation of patch sets agrees with the decision of devices: a rejected set is refused whatever is in memory, and an accepted one is refused only because
// of links to modules outside the set.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkLinks, type LinkedModule } from '../../../src/machine/isolation/link-policy.ts';
import { findLinkProblems } from '../../../src/service/patch-sets/members.ts';

const names = ['a', 'b', 'c', 'd', 'outside'] as const;
const version = fc.constantFrom('1.0.0', '1.1.0', '2.0.0');
const range = fc.constantFrom('^1.0.0', '^1.1.0', '^2.0.0', '*');
const type = fc.constantFrom({ parameters: ['i32'], results: [] }, { parameters: ['i64'], results: [] });
const exported = fc.record({ name: fc.constantFrom('f', 'g'), type }).map(({ name, type: of }) => ({ name, ...of }));

const moduleNamed = (module: string): fc.Arbitrary<LinkedModule> =>
  fc
    .record({
      version,
      exports: fc.uniqueArray(exported, { selector: ({ name }) => name, maxLength: 2 }),
      imports: fc.array(
        fc.tuple(fc.constantFrom(...names), exported).map(([from, one]) => ({ module: from, ...one })),
        { maxLength: 2 },
      ),
      ranges: fc.dictionary(fc.constantFrom(...names), range, { maxKeys: 1 }),
    })
    .map(({ exports, imports, ranges, ...one }) => ({ module, ...one, interface: { exports, imports }, dependencies: ranges }));
const modules = fc.subarray([...names], { minLength: 1 }).chain((some) => fc.tuple(...some.map(moduleNamed)));
const members = fc.subarray(['a', 'b', 'c', 'd'], { minLength: 2 }).chain((some) => fc.tuple(...some.map(moduleNamed)));

/** Removes the imports and dependencies that members of the set do not provide. */
function withoutOutsideLinks(set: readonly LinkedModule[]): LinkedModule[] {
  const inside = new Set(set.map(({ module }) => module));
  return set.map(({ interface: { exports, imports }, dependencies, ...module }) => ({
    ...module,
    interface: { exports, imports: imports.filter((one) => inside.has(one.module)) },
    dependencies: Object.fromEntries(Object.entries(dependencies).filter(([provider]) => inside.has(provider))),
  }));
}

test('a set is rejected exactly if no device could load it because of its members', () => {
  const seen = { rejected: 0, accepted: 0 };
  fc.assert(
    fc.property(members, modules, (arriving, inMemory) => {
      const problems = findLinkProblems(arriving, new Map());
      if (problems.length > 0) {
        seen.rejected += 1;
        expect(checkLinks({ arriving, inMemory }, 'require').refusal).not.toBeNull();
        for (const { pointer, detail } of problems) {
          const importer = arriving[Number(pointer.replace('/builds/', ''))];
          expect(detail).toMatch(new RegExp(`^${importer?.module}@${importer?.version} (requires|imports) `));
        }
      } else {
        seen.accepted += 1;
        expect(checkLinks({ arriving: withoutOutsideLinks(arriving), inMemory: [] }, 'require').refusal).toBeNull();
      }
    }),
    { numRuns: 1_000 },
  );
  expect(Math.min(seen.rejected, seen.accepted)).toBeGreaterThan(100);
});
