// The text format's trees: what is printed is read back the same, and what is not a tree is refused.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type Expression,
  ExpressionError,
  nestingLimit,
  printExpression,
  quote,
  readExpression,
  unquote,
} from '../../src/compiler/expression.ts';

const { tree } = fc.letrec<{ tree: Expression; list: Expression[] }>((tie) => ({
  tree: fc.oneof({ depthSize: 'small' }, fc.stringMatching(/^[a-z$0-9.:_-]{1,12}$/), fc.string().map(quote), tie('list')),
  list: fc.array(tie('tree')),
}));

test('a printed tree is read back the same', () => {
  fc.assert(
    fc.property(fc.array(tree), (expression) => {
      expect(readExpression(printExpression(expression))).toEqual(expression);
    }),
  );
});

test('a quoted text is unquoted to the same', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(unquote(quote(text))).toBe(text);
    }),
  );
});

test('escapes, names in quotes and comments are understood', () => {
  expect(unquote('"a\\t\\"\\u{1F600}\\c3\\a9\\\\"')).toBe('a\t"😀é\\');
  expect(readExpression('(a ;; line )\n (; block ) ;) $"n (" "s )")')).toEqual(['a', '$"n ("', '"s )"']);
});

test.each(['', 'a', '(', ')', '(a))', '(a) (b)', '("a)'])('%j is not one expression', (text) => {
  expect(() => readExpression(text)).toThrow(ExpressionError);
});

test('nesting past the limit is refused', () => {
  const nested = (depth: number) => '('.repeat(depth) + ')'.repeat(depth);
  expect(printExpression(readExpression(nested(nestingLimit)))).toBe(nested(nestingLimit));
  expect(() => readExpression(nested(nestingLimit + 1))).toThrow(/deeper than/);
});
