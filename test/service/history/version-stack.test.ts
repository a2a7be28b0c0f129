// The version stack: examples, a comparison with a model, and truncated histories.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { buildVersionStack, versionsOf } from '../../../src/service/history/version-stack.ts';

type Loaded = { readonly version: string; readonly isRollback: boolean };

const stackOf = (...[loads, isComplete]: Parameters<typeof buildVersionStack>) => versionsOf(buildVersionStack(loads, isComplete));

/** `1.1.0` loads it, `<1.0.0` rolls back to it. */
const loaded = (...texts: string[]): Loaded[] =>
  texts.map((text) => ({ version: text.replace('<', ''), isRollback: text.startsWith('<') }));

test.each<[string, string[], string[]]>([
  ['no load', [], []],
  ['one version', ['1'], ['1']],
  ['a newer version', ['1', '2'], ['1', '2']],
  ['a rollback', ['1', '2', '<1'], ['1']],
  ['two rollbacks go back two versions', ['1', '2', '3', '<2', '<1'], ['1']],
  ['a load of an older version is pushed', ['1', '2', '1'], ['1', '2', '1']],
  ['a load after a rollback', ['1', '2', '<1', '3'], ['1', '3']],
  ['a rollback past several versions', ['1', '2', '3', '<1'], ['1']],
  ['a rollback to a version that was popped', ['1', '2', '<1', '<2'], ['1', '2']],
  ['a version that is in the stack twice', ['1', '2', '1', '3', '<1'], ['1', '2', '1']],
  ['a restored version counts once', ['1', '2', '2', '<1', '<1'], ['1']],
])('%s', (_what, texts, versions) => {
  expect(stackOf(loaded(...texts), true)).toEqual(versions);
});

test('knows nothing below a rollback target outside a truncated history', () => {
  expect(stackOf(loaded('9', '<8', '<7'), false)).toEqual(['7']);
  expect(stackOf(loaded('9', '<8', '<7', '10'), false)).toEqual(['7', '10']);
});

test('an observed version is pushed, or popped to if it is in the stack', () => {
  const observed = (version: string) => ({ version, isRollback: false, isObserved: true });
  expect(stackOf([...loaded('1', '2'), observed('3')], true)).toEqual(['1', '2', '3']);
  expect(stackOf([...loaded('1', '2', '3'), observed('1')], true)).toEqual(['1']);
  // The known versions stay below a new observed version.
  expect(stackOf([...loaded('8', '9'), observed('7')], false)).toEqual(['8', '9', '7']);
});

/** `2 net` loads a patch set, `2 -` is unloaded afterwards, `2 <-` by a rollback. */
const inSets = (...texts: string[]) =>
  texts.map((text, index) => {
    const [version = '', ...marks] = text.split(' ');
    const patchSet = marks.includes('net') ? { id: 'pset_1', name: 'net', version: '1' } : null;
    const unloadedBy = marks.includes('<-') ? ('rollback' as const) : marks.includes('-') ? ('load' as const) : null;
    return { version: version.replace('<', ''), isRollback: version.startsWith('<'), loadId: `${index}`, patchSet, unloadedBy };
  });

test.each<[string, string[], (string | null)[]]>([
  ['an unload', ['1 -'], [null, '1', null]],
  ['a version that is loaded again after an unload', ['1 -', '1'], [null, '1']],
  ['a patch set with the version that was unloaded', ['1 -', '1 net'], [null, '1', null, '1']],
  ['a patch set with a lost version', ['1', '1 net'], [null, '1', '1']],
  ['a rollback that unloads the first version', ['1 net <-'], [null]],
  ['a rollback to a period without the module', ['1 -', '2 net <-'], [null, '1', null]],
  ['a rollback that unloads, after another version', ['1 -', '2 net', '3 <-'], [null, '1', null]],
  ['a rollback after an unload', ['1', '2 -', '<2'], [null, '1', '2']],
])('with unloads and patch sets: %s', (_what, texts, versions) => {
  expect(buildVersionStack(inSets(...texts), true).map((entry) => entry?.version ?? null)).toEqual(versions);
});

test('keeps the load of a version to which a rollback returns', () => {
  const [first] = buildVersionStack(inSets('1 net', '2', '<1'), true).toReversed();
  expect(first).toMatchObject({ version: '1', loadId: '0' });
});

const anyLoaded = fc.array(fc.record({ version: fc.constantFrom('1', '2', '3', '4', '5'), isRollback: fc.boolean() }), { maxLength: 40 });

/** A linked stack. */
type StackNode = { readonly version: string; readonly below: StackNode | null };

/** A model of the version stack: a linked list. */
function modelStack(all: readonly Loaded[]): string[] {
  const current = all.reduce<StackNode | null>((top, { version, isRollback }) => {
    if (top?.version === version) return top;
    let found = isRollback ? top : null;
    while (found !== null && found.version !== version) found = found.below;
    return found ?? { version, below: top };
  }, null);
  const versions: string[] = [];
  for (let node = current; node !== null; node = node.below) versions.unshift(node.version);
  return versions;
}

test('equals the model for any loads and rollbacks', () => {
  fc.assert(
    fc.property(anyLoaded, (all) => {
      expect(stackOf(all, true)).toEqual(modelStack(all));
    }),
  );
});

test('a truncated history yields the top of the full stack', () => {
  fc.assert(
    fc.property(anyLoaded, fc.nat(40), (all, cut) => {
      const [whole, end] = [stackOf(all, true), stackOf(all.slice(cut), false)];
      expect(whole.slice(whole.length - end.length)).toEqual(end);
    }),
  );
});
