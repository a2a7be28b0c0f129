// binaryen, with the messages that it only prints kept as values.

import console from 'node:console';
import { setFlagsFromString } from 'node:v8';
import type Binaryen from 'binaryen';

const printed: string[] = [];
const consoleError = console.error;
// It binds console.error when it is loaded, and has no other way to say what is wrong with a module.
console.error = (...message: unknown[]) => printed.push(message.join(' '));
// Optimising binaryen itself costs more processor time than the optimised code saves, also over a hundred compilations: it begins a hundred times
// later than with other WebAssembly, whose usual budget is 13,000,000 bytes.
setFlagsFromString('--wasm-tiering-budget=1300000000');
// V8 compiles it on threads that do not keep this one alive: without the timer, a thread that has nothing else to wait for ends here.
const keptAlive = setInterval(() => {}, 1_000);
export const { default: binaryen } = await import('./generated/binaryen.js');
clearInterval(keptAlive);
setFlagsFromString('--wasm-tiering-budget=13000000');
console.error = consoleError;

export type BinaryenModule = Binaryen.Module;

const { Features } = binaryen;

/** What a user's module may use. Not among them: exceptions (they would catch an injected error), threads, tail calls, 64-bit or several memories. */
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

/** What an image uses besides: the stubs catch injected errors, and the kernel's memory stands beside the module's own. */
export const imageFeatures = supportedFeatures | Features.ExceptionHandling | Features.MultiMemory;

/** More of them help nobody. */
const errorLimit = 50;

/** What binaryen finds wrong with a module that uses the given features; empty: nothing. */
export function validateModule(module: BinaryenModule, features: number): string[] {
  module.setFeatures(features);
  printed.length = 0;
  if (module.validate() !== 0) return [];
  const errors = printed.filter((line) => line.startsWith('[wasm-validator'));
  return errors.length === 0 ? ['the module is not valid'] : errors.slice(0, errorLimit).map(readable);
}

/** `[wasm-validator error in function f] unexpected false: why, on <expression>` as a sentence. */
function readable(message: string): string {
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
 * Reads the text format.
 * @throws {TextError} with the place of the first error.
 */
export function parseText(text: string): BinaryenModule {
  try {
    return binaryen.parseText(escapeNonAscii(text));
  } catch (error) {
    // A stack overflow and the like say nothing about the text.
    if (error instanceof Error) throw error;
    // What it throws is an object of its own, not an Error.
    const message = typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
    const found = /(\d+):(\d+): error: ([\s\S]*)/.exec(message);
    throw new TextError(found?.[3] ?? message, found ? Number(found[1]) : null, found ? Number(found[2]) + 1 : null);
  }
}

/** binaryen takes a text as ASCII: other characters become escapes of their bytes, as strings may have them. In a comment that changes nothing. */
function escapeNonAscii(text: string): string {
  return text.replaceAll(/[^\0-\x7f]+/g, (characters) =>
    [...Buffer.from(characters)].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

/** A text is not WebAssembly's text format. */
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
