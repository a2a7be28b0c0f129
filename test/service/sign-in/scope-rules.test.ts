// Scopes from the claims of an identity provider.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { matchesLabelSelector, parseLabelSelector } from '../../../src/protocol/label-selector.ts';
import { isEmptyScope, type ScopeRules, scopeFrom } from '../../../src/service/sign-in/scope-rules.ts';

const rule = (value: string, text: string) => ({ value, selector: text === '*' ? null : parseLabelSelector(text) });
const scopes = (rules: ScopeRules['rules'], unmatched: ScopeRules['unmatched'] = 'refuse') => ({ claim: 'groups', rules, unmatched });
const zones = ['north', 'south', 'east'];
const matches = (scope: ReturnType<typeof scopeFrom>) =>
  zones.filter((zone) => scope === null || matchesLabelSelector(scope, new Map([['zone', zone]])));

test('the devices of all rules that match, and no others', () => {
  const value = fc.constantFrom('a', 'b', 'c', '*');
  const rules = fc.array(fc.record({ value, zone: fc.constantFrom(...zones, '*') }), { minLength: 1, maxLength: 5 });
  const property = fc.property(fc.array(value), rules, (groups, given) => {
    const found = scopeFrom(
      { groups },
      ['viewer'],
      scopes(given.map(({ value: of, zone }) => rule(of, zone === '*' ? '*' : `zone=${zone}`))),
    );
    const matching = given.filter((one) => one.value === '*' || groups.includes(one.value)).map(({ zone }) => zone);
    expect(matches(found)).toEqual(zones.filter((zone) => matching.includes(zone) || matching.includes('*')));
    expect(isEmptyScope(found)).toBe(matching.length === 0);
    expect(found === null).toBe(matching.includes('*'));
  });
  fc.assert(property);
});

test('without a rule that matches: no devices, or all if the settings say so', () => {
  const rules = [rule('north-operators', 'zone=north')];
  expect(matches(scopeFrom({ groups: ['others'] }, ['operator'], scopes(rules)))).toEqual([]);
  expect(isEmptyScope(scopeFrom({}, ['operator'], scopes(rules)))).toBe(true);
  expect(scopeFrom({ groups: ['others'] }, ['operator'], scopes(rules, 'all-devices'))).toBeNull();
  expect(matches(scopeFrom({ groups: ['north-operators'] }, ['operator'], scopes(rules, 'all-devices')))).toEqual(['north']);
});

test('without rules, and for administrators: all devices', () => {
  expect(scopeFrom({}, ['viewer'], scopes([]))).toBeNull();
  const rules = [rule('north-operators', 'zone=north')];
  expect(scopeFrom({ groups: ['north-operators'] }, ['operator', 'admin'], scopes(rules))).toBeNull();
});
