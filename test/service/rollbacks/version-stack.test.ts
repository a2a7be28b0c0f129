// Which version a device goes back to: loads and rollbacks as a stack, against a model and cut short.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { buildVersionStack } from '../../../src/service/rollbacks/version-stack.ts';

type Loaded = { readonly version: string; readonly isRollback: boolean };

/** `1.1.0` loads it, `<1.0.0` rolls back to it. */
const loaded = (...texts: string[]): Loaded[] =>
  texts.map((text) => ({ version: text.replace('<', ''), isRollback: text.startsWith('<') }));

test.each<[string, string[], string[]]>([
  ['nothing was loaded', [], []],
  ['one version', ['1'], ['1']],
  ['a newer one', ['1', '2'], ['1', '2']],
  ['a rollback', ['1', '2', '<1'], ['1']],
  ['two rollbacks go two versions back, and not forward again', ['1', '2', '3', '<2', '<1'], ['1']],
  ['an ordinary load of an older version is a step forward', ['1', '2', '1'], ['1', '2', '1']],
  ['a version after a rollback', ['1', '2', '<1', '3'], ['1', '3']],
  ['a rollback past several versions', ['1', '2', '3', '<1'], ['1']],
  ['a rollback to a version that was gone back from', ['1', '2', '<1', '<2'], ['1', '2']],
  ['a version that was there twice', ['1', '2', '1', '3', '<1'], ['1', '2', '1']],
  ['what was put back', ['1', '2', '2', '<1', '<1'], ['1']],
])('%s', (_what, texts, versions) => {
  expect(buildVersionStack(loaded(...texts), true)).toEqual(versions);
});

test('below a version that was gone back to from further than is known, nothing is known', () => {
  expect(buildVersionStack(loaded('9', '<8', '<7'), false)).toEqual(['7']);
  expect(buildVersionStack(loaded('9', '<8', '<7', '10'), false)).toEqual(['7', '10']);
});

test('a version that was observed goes on top, or back to where it was below', () => {
  const observed = (version: string) => ({ version, isRollback: false, isObserved: true });
  expect(buildVersionStack([...loaded('1', '2'), observed('3')], true)).toEqual(['1', '2', '3']);
  expect(buildVersionStack([...loaded('1', '2', '3'), observed('1')], true)).toEqual(['1']);
  // What was known before is still below a version that is new.
  expect(buildVersionStack([...loaded('8', '9'), observed('7')], false)).toEqual(['8', '9', '7']);
});

const anyLoaded = fc.array(fc.record({ version: fc.constantFrom('1', '2', '3', '4', '5'), isRollback: fc.boolean() }), { maxLength: 40 });

/** A version as it was put on what was below it. */
type Stay = { readonly version: string; readonly below: Stay | null };

/** The stays one on another, found by walking down from the one that is now. */
function modelOf(all: readonly Loaded[]): string[] {
  const now = all.reduce<Stay | null>((top, { version, isRollback }) => {
    if (top?.version === version) return top;
    let found = isRollback ? top : null;
    while (found !== null && found.version !== version) found = found.below;
    return found ?? { version, below: top };
  }, null);
  const versions: string[] = [];
  for (let stay = now; stay !== null; stay = stay.below) versions.unshift(stay.version);
  return versions;
}

test('whatever is loaded and rolled back, it is as the model says', () => {
  fc.assert(
    fc.property(anyLoaded, (all) => {
      expect(buildVersionStack(all, true)).toEqual(modelOf(all));
    }),
  );
});

test('of what is cut short nothing is told that is not so: it is the end of the whole', () => {
  fc.assert(
    fc.property(anyLoaded, fc.nat(40), (all, cut) => {
      const [whole, end] = [buildVersionStack(all, true), buildVersionStack(all.slice(cut), false)];
      expect(whole.slice(whole.length - end.length)).toEqual(end);
    }),
  );
});
