// Label selectors: the syntax of Kubernetes, its meaning against a simple model, and errors with their position.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  formatLabelSelector,
  type LabelSelector,
  LabelSelectorError,
  matchesLabelSelector,
  parseLabelSelector,
  parseScope,
  scopeLimits,
  selectorLimits,
  selectorOfLabels,
  uniteSelectors,
} from '../../src/protocol/label-selector.ts';

const one = (key: string, values: string[] | null, isNegated = false): LabelSelector => [{ key, values, isNegated }];

test.each<[string, LabelSelector]>([
  ['zone=north', one('zone', ['north'])],
  ['zone==north', one('zone', ['north'])],
  ['zone = north', one('zone', ['north'])],
  ['zone!=north', one('zone', ['north'], true)],
  ['zone in (north,south)', one('zone', ['north', 'south'])],
  ['\tzone\nin( north , south )\r', one('zone', ['north', 'south'])],
  ['zone notin (north)', one('zone', ['north'], true)],
  ['zone in (north,north)', one('zone', ['north'])],
  ['zone', one('zone', null)],
  ['!zone', one('zone', null, true)],
  ['! zone', one('zone', null, true)],
  ['zone=', one('zone', [''])],
  ['zone!=', one('zone', [''], true)],
  ['zone in (,north)', one('zone', ['', 'north'])],
  ['zone in (north,,)', one('zone', ['north', ''])],
  ['in in (in,notin)', one('in', ['in', 'notin'])],
  ['notin', one('notin', null)],
  ['example.com/tier=a.b_c-1', one('example.com/tier', ['a.b_c-1'])],
  ['address=10.0.0.1:80', one('address', ['10.0.0.1:80'])],
  [
    'zone in (north,south), model!=x, !beta, tier',
    [...one('zone', ['north', 'south']), ...one('model', ['x'], true), ...one('beta', null, true), ...one('tier', null)],
  ],
  ['zone=north,zone=south', [...one('zone', ['north']), ...one('zone', ['south'])]],
])('%j is accepted', (text, selector) => {
  expect(parseLabelSelector(text)).toEqual(selector);
});

test.each<[string, number, string]>([
  ['', 1, 'expected a label key or "!", received the end of the selector'],
  ['  ', 3, 'expected a label key or "!", received the end of the selector'],
  [',zone', 1, 'expected a label key or "!", received ","'],
  ['zone,', 6, 'expected a label key or "!", received the end of the selector'],
  ['zone,,tier', 6, 'expected a label key or "!", received ","'],
  ['!!zone', 2, 'expected a label key or "!", received "!"'],
  ['!zone=north', 6, 'expected "," or the end of the selector, received "="'],
  ['=north', 1, 'expected a label key or "!", received "="'],
  ['Zone=north', 1, '"Zone" is not a label key: a label key is 1 to 63 of a-z'],
  ['zone north', 6, 'expected "=", "==", "!=", "in", "notin", "," or the end of the selector, received "north"'],
  ['zone=north south', 12, 'expected "," or the end of the selector, received "south"'],
  ['zone===north', 7, 'expected a label value without spaces'],
  ['zone="north"', 6, 'expected a label value without spaces, quotes and the characters , ( ) = ! < >, received "\\""'],
  ['zone>1', 5, 'received ">"'],
  ['zone in', 8, 'expected "(", received the end of the selector'],
  ['zone in north', 9, 'expected "(", received "north"'],
  ['zone in ()', 10, 'expected a label value, received ")"'],
  ['zone in (north', 15, 'expected "," or ")", received the end of the selector'],
  ['zone in (north south)', 16, 'expected "," or ")", received "south"'],
  ['zone in (north))', 16, 'expected "," or the end of the selector, received ")"'],
  ['zone IN (north)', 6, 'received "IN"'],
  [`zone=${'x'.repeat(64)}`, 6, 'is too long: a label value is up to 63 characters'],
  [`${'k'.repeat(64)}=x`, 1, 'is not a label key'],
  ['zone=a\u0000', 7, 'received "\\u0000"'],
  ['🚀=x', 1, 'is not a label key'],
  ['zone=🚀 x', 8, 'received "x"'],
])('%j is rejected at character %i', (text, position, reason) => {
  expectRejection(text, position, reason);
});

function expectRejection(text: string, position: number, reason: string): void {
  const parse = () => parseLabelSelector(text);
  expect(parse).toThrow(LabelSelectorError);
  expect(parse).toThrow(expect.objectContaining({ position, message: expect.stringContaining(reason) }));
  expect(parse).toThrow(`at character ${position}: `);
}

test('a selector has limits', () => {
  const { characters, requirements, values } = selectorLimits;
  const series = (length: number, prefix = '') => Array.from({ length }, (_, index) => `${prefix}${index}`).join();
  expect(parseLabelSelector(series(requirements, 'k'))).toHaveLength(requirements);
  expect(parseLabelSelector(`zone in (${series(values)})`)[0]?.values).toHaveLength(values);
  expect(parseLabelSelector(' '.repeat(characters - 1).concat('k'))).toHaveLength(1);
  expectRejection(`${series(requirements, 'k')},k`, series(requirements, 'k').length + 2, `limit exceeded (${requirements} requirements)`);
  expectRejection(`zone in (${series(values)},x)`, 10 + series(values).length + 1, `limit exceeded (${values} values)`);
  expectRejection(`tier,rack=7,zone in (${series(values)})`, 22 + series(values).lastIndexOf(',') + 1, `limit exceeded (${values} values)`);
  expectRejection(' '.repeat(characters).concat('k'), characters + 1, `limit exceeded (${characters} characters)`);
});

/** Few keys and values, so that selectors match some labels. */
const key = fc.oneof(fc.constantFrom('zone', 'tier', 'in', 'notin'), fc.stringMatching(/^[a-z0-9][a-z0-9._/-]{0,62}$/));
const value = fc.oneof(fc.constantFrom('', 'north', 'south', 'in', 'notin'), fc.stringMatching(/^[A-Za-z0-9:/@+._-]{0,63}$/));
const requirement = fc.record({
  key,
  values: fc.option(fc.uniqueArray(value, { minLength: 1, maxLength: 6 })),
  isNegated: fc.boolean(),
});
const selectors = fc.array(requirement, { minLength: 1, maxLength: 6 });
const labels = fc.dictionary(key, value, { maxKeys: 4, noNullPrototype: true });

test('a printed selector is parsed to the same selector', () => {
  fc.assert(
    fc.property(selectors, (selector) => {
      expect(parseLabelSelector(formatLabelSelector(selector))).toEqual(selector);
    }),
  );
});

test('a selector matches the labels that meet each of its requirements', () => {
  const model = {
    in: (found: string | null, values: readonly string[]) => values.some((one) => one === found),
    notin: (found: string | null, values: readonly string[]) => !values.some((one) => one === found),
  };
  fc.assert(
    fc.property(selectors, labels, (selector, given) => {
      const expected = selector.every(({ key: wanted, values, isNegated }) => {
        const found = Object.hasOwn(given, wanted) ? (given[wanted] ?? null) : null;
        if (values === null) return isNegated ? found === null : found !== null;
        return isNegated ? model.notin(found, values) : model.in(found, values);
      });
      expect(matchesLabelSelector(selector, new Map(Object.entries(given)))).toBe(expected);
      expect(matchesLabelSelector(selectorOfLabels(given), new Map(Object.entries(given)))).toBe(true);
    }),
  );
});

const scopes = fc.array(selectors, { minLength: 1, maxLength: 4 });

test('a printed scope is parsed to the same scope, and matches what one of its selectors matches', () => {
  fc.assert(
    fc.property(scopes, labels, (alternatives, given) => {
      const scope = uniteSelectors(alternatives);
      expect(parseScope(formatLabelSelector(scope))).toEqual(scope);
      const found = new Map(Object.entries(given));
      expect(matchesLabelSelector(scope, found)).toBe(alternatives.some((selector) => matchesLabelSelector(selector, found)));
    }),
  );
});

test('a scope has each of its selectors once, and without selectors it matches nothing', () => {
  expect(formatLabelSelector(parseScope('(zone==north) or (tier, !beta) or (zone = north)'))).toBe('(zone=north) or (tier,!beta)');
  expect(parseScope(' ( zone=north ) ')).toEqual(parseLabelSelector('zone=north'));
  expect(parseScope('(zone=) or (tier in (a,))')).toEqual([{ anyOf: [parseLabelSelector('zone='), parseLabelSelector('tier in (a,)')] }]);
  expect(matchesLabelSelector(uniteSelectors([]), new Map([['zone', 'north']]))).toBe(false);
});

test.each<[string, number, string]>([
  ['(zone=north', 12, 'expected "," or ")", received the end of the selector'],
  ['(zone=north) and (tier)', 14, 'expected "or" or the end of the scope, received "and"'],
  ['(zone=north) or tier', 17, 'expected "(", received "tier"'],
  ['zone=north or tier', 12, 'expected "," or the end of the selector, received "or"'],
  ['((zone))', 2, 'expected a label key or "!", received "("'],
  ['()', 2, 'expected a label key or "!", received ")"'],
])('rejects the scope %s', (text, position, reason) => {
  const parse = () => parseScope(text);
  expect(parse).toThrow(expect.objectContaining({ position, message: `at character ${position}: ${reason}` }));
});

test('a scope has limits', () => {
  const { characters, selectors: count, requirements, values } = scopeLimits;
  const series = (length: number, toText: (index: number) => string, separator: string) =>
    Array.from({ length }, (_, index) => toText(index)).join(separator);
  const alternatives = (length: number) => series(length, (index) => `(zone=z${index})`, ' or ');
  expect(parseScope(alternatives(count))).toEqual([{ anyOf: expect.objectContaining({ length: count }) }]);
  expect(() => parseScope(alternatives(count + 1))).toThrow(`limit exceeded (${count} selectors)`);
  const wide = (length: number) => series(length, (index) => `(a${index},b${index},c${index},d)`, ' or ');
  expect(() => parseScope(wide(requirements / 4))).not.toThrow();
  expect(() => parseScope(`${wide(requirements / 4)} or (x)`)).toThrow(`limit exceeded (${requirements} requirements)`);
  const listed = (length: number) => `(zone in (${series(length, String, ',')})) or (tier=a)`;
  expect(() => parseScope(listed(values - 1))).not.toThrow();
  expect(() => parseScope(listed(values))).toThrow(`limit exceeded (${values} values)`);
  expect(() => parseScope(`(zone)${' '.repeat(characters - 5)}`)).toThrow(`limit exceeded (${characters} characters)`);
});

test('any text is parsed, or rejected with a position inside it', () => {
  const pieces = fc.constantFrom(
    'zone',
    'in',
    'notin',
    '(',
    ')',
    ',',
    '=',
    '==',
    '!=',
    '!',
    ' ',
    '>',
    '"',
    'north',
    '\u0085',
    '🚀',
    '\ud800',
  );
  const texts = fc.oneof(
    fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join('')),
    fc.array(fc.nat(0x10_ffff), { maxLength: 20 }).map((points) => String.fromCodePoint(...points)),
  );
  const counts = { accepted: 0, rejected: 0 };
  fc.assert(
    fc.property(texts, (text) => {
      try {
        const printed = formatLabelSelector(parseLabelSelector(text));
        counts.accepted += 1;
        return formatLabelSelector(parseLabelSelector(printed)) === printed;
      } catch (error) {
        if (!(error instanceof LabelSelectorError)) throw error;
        counts.rejected += 1;
        return error.position >= 1 && error.position <= Array.from(text).length + 1;
      }
    }),
    { numRuns: 300 },
  );
  expect(Math.min(counts.accepted, counts.rejected)).toBeGreaterThan(0);
});
