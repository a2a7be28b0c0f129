// Maps the diagnostics of a refused module to the feature that devices do not support.

import type { Diagnostic } from '../../src/compiler/result.ts';

/** Matches the compiler's message about an unsupported WebAssembly proposal. */
const proposal = /^the module uses (.+), which devices do not support/;

/** Features by the compiler's other messages. */
const features: readonly (readonly [RegExp, string])[] = [
  [/exports no function/, 'no exported function: there is nothing to access'],
  [/is a (global|memory|table|tag): modules can import/, 'imported memories, tables, globals and tags'],
  [/exports? \d+ functions; the limit/, 'more exports than the limit'],
  [/the memory is of \d+ pages|memory .*limit/, 'a larger memory than the limit'],
  [/the table is of \d+ elements|table .*limit/, 'a larger table than the limit'],
  [/segment offset must be constant/, 'constants that read a global of the module itself'],
  [/U\+0000/, 'the character U+0000 in a name'],
  [/is unknown: (import from|expected one of)/, 'an import that no device provides'],
  [/funcref|externref/, 'references in the interface of a module'],
];

/** Returns the feature that the diagnostics name; null if they name none. */
export function featureOf(diagnostics: readonly Diagnostic[]): string | null {
  for (const { message } of diagnostics) {
    const named = proposal.exec(message)?.[1];
    if (named !== undefined) return named;
    const found = features.find(([pattern]) => pattern.test(message));
    if (found !== undefined) return found[1];
  }
  return null;
}

export const exportedGlobals = 'exported globals';
export const references = 'references in the interface of a module';

export const memoryGrowth = 'growth of a memory past the limit';

/** Whether a function that grows a memory returned -1, as the specification allows for any growth. */
export const isGrowthPastLimit = (field: string, results: readonly bigint[]): boolean =>
  field.includes('grow') && results.length === 1 && results[0] === 0xffff_ffffn;

/** What V8 says of each trap of the specification. */
const traps: Readonly<Record<string, RegExp>> = {
  'out of bounds memory access': /memory access out of bounds|data segment out of bounds/,
  'integer divide by zero': /(divide|remainder) by zero/,
  'integer overflow': /divide result unrepresentable|float unrepresentable in integer range/,
  'invalid conversion to integer': /float unrepresentable in integer range/,
  'out of bounds table access': /table index is out of bounds|element segment out of bounds|table access out of bounds/,
  'undefined element': /table index is out of bounds|function signature mismatch/,
  'uninitialized element': /function signature mismatch|table index is out of bounds/,
  'uninitialized element 2': /function signature mismatch/,
  'indirect call type mismatch': /function signature mismatch/,
  unreachable: /unreachable/,
  'call stack exhausted': /call stack/i,
};

/** An instruction that traps whatever its operands are is `unreachable` after the optimizer. */
const optimizedTraps = /memory access|table access|element|indirect call/;

/** Whether the message of a failed call is of the trap that a script names. */
export function isTrap(message: string, text: string): boolean {
  if (traps[text]?.test(message) === true) return true;
  return optimizedTraps.test(text) && message.startsWith('unreachable');
}
