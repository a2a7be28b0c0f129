// Loads binaryen and returns the validation messages that it prints.

import console from 'node:console';
import { setFlagsFromString } from 'node:v8';
import type Binaryen from 'binaryen';

const printed: string[] = [];
const consoleError = console.error;
// binaryen binds console.error when it is loaded, and reports validation errors by printing only.
console.error = (...message: unknown[]) => printed.push(message.join(' '));
// Optimizing binaryen's own code costs more CPU time than the optimized code saves, even over a hundred compilations. A budget of 100 times the
// default (13,000,000 bytes) delays that optimization.
setFlagsFromString('--wasm-tiering-budget=1300000000');
// V8 compiles binaryen on threads that do not keep this thread alive: without the timer, a thread with nothing else pending exits here.
const keepAliveTimer = setInterval(() => {}, 1_000);
export const { default: binaryen } = await import('./generated/binaryen.js');
clearInterval(keepAliveTimer);
setFlagsFromString('--wasm-tiering-budget=13000000');
console.error = consoleError;

export type BinaryenModule = Binaryen.Module;

const { Features } = binaryen;

/**
 * Features that a user's module may use. Not supported: exceptions (a handler would catch an injected error), threads, tail calls, 64-bit memory and
 * multiple memories.
 */
export const supportedFeatures =
  Features.MutableGlobals |
  Features.NontrappingFPToInt |
  Features.SIMD128 |
  Features.BulkMemory |
  Features.BulkMemoryOpt |
  Features.SignExt |
  Features.ReferenceTypes |
  Features.Multivalue |
  Features.ExtendedConst |
  Features.CallIndirectOverlong;

/** Features that an image may use: stubs also catch injected errors and access the kernel's memory besides the module's own. */
export const imageFeatures = supportedFeatures | Features.ExceptionHandling | Features.MultiMemory;

/** Errors returned for one module, at most. */
const errorLimit = 50;

/** Returns the validation errors of a module that may use the given features; empty: it is valid. */
export function validateModule(module: BinaryenModule, features: number): string[] {
  module.setFeatures(features);
  printed.length = 0;
  if (module.validate() !== 0) return [];
  const errors = printed.filter((line) => line.startsWith('[wasm-validator'));
  return errors.length === 0 ? ['the module is not valid'] : errors.slice(0, errorLimit).map(formatError);
}

/** Formats `[wasm-validator error in function f] unexpected false: reason, on <expression>` as a sentence. */
function formatError(message: string): string {
  const found = /^\[wasm-validator error in (\w+) ?(.*?)\] (?:unexpected \w+: )?([\s\S]*)$/.exec(message);
  if (found === null) return message.slice(0, 300);
  const [, kind, name, reason = ''] = found;
  const sentence = reason
    .replaceAll(/\s*\[--enable-[^\]]*\]/g, '')
    .replaceAll(/\s+/g, ' ')
    .replace(/, on $/, '');
  return `${kind}${name ? ` ${name}` : ''}: ${sentence}`.slice(0, 300);
}

/**
 * Parses the text format.
 * @throws {TextError} with the position of the first error.
 */
export function parseText(text: string): BinaryenModule {
  try {
    return binaryen.parseText(escapeNonAscii(text));
  } catch (error) {
    // A stack overflow, for example, is not an error in the text.
    if (error instanceof Error) throw error;
    // binaryen throws an object that is not an Error.
    const message = typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
    const found = /(\d+):(\d+): error: ([\s\S]*)/.exec(message);
    throw new TextError(found?.[3] ?? message, found ? Number(found[1]) : null, found ? Number(found[2]) + 1 : null);
  }
}

/** Replaces non-ASCII characters by escapes of their UTF-8 bytes, because binaryen reads ASCII. Strings keep their value, and comments do not matter. */
function escapeNonAscii(text: string): string {
  return text.replaceAll(/[^\0-\x7f]+/g, (characters) =>
    [...Buffer.from(characters)].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

/** The text is not valid in WebAssembly's text format. */
export class TextError extends Error {
  override readonly name = 'TextError';
  readonly line: number | null;
  readonly column: number | null;

  constructor(message: string, line: number | null, column: number | null) {
    super(message);
    this.line = line;
    this.column = column;
  }
}
