// The binary format: decoding and encoding preserve modules, unsupported features are reported by name, and malformed bytes cause typed errors.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mapIndices } from '../../src/compiler/binary/index-map.ts';
import { block, branchIf, end, i32Const, ifBlock, imageFeatures, plain } from '../../src/compiler/binary/instruction.ts';
import { decodeBody, decodeInstructions, encodeInstructions } from '../../src/compiler/binary/instruction-codec.ts';
import { MalformedModuleError, type Module, UnsupportedFeatureError } from '../../src/compiler/binary/module.ts';
import { decodeModule } from '../../src/compiler/binary/reader.ts';
import { encodeModule } from '../../src/compiler/binary/writer.ts';
import { assembleText, samples } from './binary-samples.ts';

/** Returns the module with instructions instead of bytes, whose number encodings may be longer than necessary. */
function contentOf(module: Module): unknown {
  const instructions = (bytes: Uint8Array) => decodeInstructions(bytes);
  return {
    ...module,
    functionNames: null,
    functions: module.functions.map(({ body, ...rest }) => ({ ...rest, instructions: instructions(body) })),
    globals: module.globals.map(({ type, init }) => ({ type, init: instructions(init) })),
  };
}

/** Returns the module with every body decoded and encoded again. */
function rewritten(module: Module): Module {
  return {
    ...module,
    functions: module.functions.map(({ type, locals, body }) => ({
      type,
      locals,
      body: encodeInstructions(decodeInstructions(body)).body,
    })),
  };
}

/** Decodes and encodes a valid module. Returns the fault of the result, or null. */
function roundTripFault(bytes: Uint8Array): string | null {
  const module = decodeModule(bytes);
  const written = encodeModule(rewritten(module));
  if (!WebAssembly.validate(written)) return 'the engine rejects the encoded module';
  if (!isDeepStrictEqual(contentOf(decodeModule(written)), contentOf(module))) return 'the encoded module differs';
  return null;
}

test.each(samples)('decoding and encoding preserves sample %s', (_name, bytes) => {
  expect(roundTripFault(bytes)).toBeNull();
});

const suite = process.env['TEST_WASM_SUITE'];

describe.skipIf(suite === undefined || !existsSync(suite))('the WebAssembly suite (TEST_WASM_SUITE)', () => {
  test('decoding and encoding preserves every valid module, or reports an unsupported feature', () => {
    const faults: string[] = [];
    let accepted = 0;
    for (const file of readdirSync(suite ?? '').filter((name) => name.endsWith('.wasm'))) {
      const bytes = new Uint8Array(readFileSync(join(suite ?? '', file)));
      try {
        const isValid = WebAssembly.validate(bytes);
        const fault = isValid ? roundTripFault(bytes) : null;
        if (!isValid) decodeModule(bytes);
        else if (fault === null) accepted += 1;
        else faults.push(`${file}: ${fault}`);
      } catch (error) {
        const isExpected =
          error instanceof UnsupportedFeatureError || (error instanceof MalformedModuleError && !WebAssembly.validate(bytes));
        if (!isExpected) faults.push(`${file}: ${error}`);
      }
    }
    expect(faults).toEqual([]);
    expect(accepted).toBeGreaterThan(1_000);
  });
});

/** A random change of bytes. */
type Change = { readonly kind: 'set' | 'insert' | 'remove' | 'cut'; readonly place: number; readonly value: number };

const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom('set', 'insert', 'remove', 'cut'),
  place: fc.nat(),
  value: fc.oneof(fc.constantFrom(0x00, 0x0b, 0x7f, 0x80, 0xff), fc.nat(255)),
});

function changed(bytes: Uint8Array, { kind, place, value }: Change): Uint8Array {
  const at = 8 + (place % Math.max(1, bytes.length - 8));
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at + 1)];
  if (kind === 'cut') return before;
  if (kind === 'remove') return new Uint8Array([...before, ...after]);
  return new Uint8Array([...before, value, ...(kind === 'set' ? after : bytes.subarray(at))]);
}

test('decodes changed bytes or throws a typed error, and never calls a valid module malformed', () => {
  const sample = fc.constantFrom(...samples.map(([, bytes]) => bytes));
  fc.assert(
    fc.property(sample, fc.array(change, { minLength: 1, maxLength: 3 }), (bytes, changes) => {
      const bad = changes.reduce<Uint8Array>(changed, bytes);
      const isValid = WebAssembly.validate(new Uint8Array(bad));
      try {
        const written = encodeModule(rewritten(decodeModule(bad)));
        if (isValid) expect(WebAssembly.validate(written)).toBe(true);
      } catch (error) {
        if (error instanceof MalformedModuleError) {
          expect(isValid, error.message).toBe(false);
          expect(error.offset).toBeLessThanOrEqual(bad.length);
        } else {
          expect(error).toBeInstanceOf(UnsupportedFeatureError);
        }
      }
    }),
    { numRuns: 5_000 },
  );
});

test('decodes any bytes after the header or throws a typed error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (content) => {
      try {
        decodeModule(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...content]));
      } catch (error) {
        expect(error instanceof MalformedModuleError || error instanceof UnsupportedFeatureError).toBe(true);
      }
    }),
    { numRuns: 5_000 },
  );
});

test.each([
  ['exception handling', '(module (tag $e) (func (export "f") (throw $e)))'],
  ['exception handling', '(module (func (export "f") (block $b (try_table (catch_all $b) (nop)))))'],
  ['tail calls', '(module (func $f (export "f") (return_call $f)))'],
  ['threads', '(module (memory 1 2 shared))'],
  ['threads', '(module (memory 1 2) (func (export "f") (drop (i32.atomic.load (i32.const 0)))))'],
  ['64-bit memory', '(module (memory i64 1))'],
  ['multiple memories', '(module (memory 1) (memory 1))'],
  ['garbage collection', '(module (type $s (struct (field i32))) (func (export "f") (drop (struct.new $s (i32.const 1)))))'],
  ['typed function references', '(module (type $t (func)) (func (export "f") (param (ref $t)) (call_ref $t (local.get 0))))'],
  ['relaxed SIMD', '(module (func (export "f") (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))'],
])('rejects %s: %s', (feature, text) => {
  const bytes = assembleText(text);
  expect(() => decodeModule(bytes)).toThrow(UnsupportedFeatureError);
  expect(() => decodeModule(bytes)).toThrow(`the module uses ${feature}, which devices do not support`);
});

test.each([
  ['wide arithmetic', [0xfc, 0x13]],
  ['string references', [0xfb, 0x80, 0x01]],
  ['stack switching', [0xe0, 0x00]],
  ['half-precision floats', [0xfd, 0xa0, 0x02]],
  ['memory control', [0xfc, 0x12]],
  ['exception handling', [0x06, 0x40, 0x0b]],
])('reports instructions of %s by the name of the feature', (feature, bytes) => {
  expect(() => decodeInstructions(new Uint8Array(bytes))).toThrow(expect.objectContaining({ name: 'UnsupportedFeatureError', feature }));
});

test.each([
  ['an unknown instruction', [0x27]],
  ['an unknown SIMD instruction', [0xfd, 0x9a, 0x01]],
  ['an end without a block', [0x0b]],
  ['a block without an end', [0x02, 0x40]],
  ['a constant of 33 bits', [0x41, 0xff, 0xff, 0xff, 0xff, 0x0f]],
  ['an index of 6 bytes', [0x20, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]],
  ['an i64 of 65 bits', [0x42, ...Array.from({ length: 9 }, () => 0xff), 0x01]],
  ['a constant that is cut off', [0x44, 0, 0, 0]],
])('reports %s as malformed', (_what, bytes) => {
  expect(() => decodeInstructions(new Uint8Array(bytes))).toThrow(MalformedModuleError);
});

/** Returns a module of one function with nested blocks. */
function nestedModule(depth: number): Module {
  const opened = Array.from({ length: depth }, (_, index) => (index % 2 === 0 ? [block()] : [i32Const(1), ifBlock()])).flat();
  const body = encodeInstructions([...opened, ...Array.from({ length: depth }, () => end)]).body;
  const empty = decodeModule(new Uint8Array(assembleText('(module (func (export "f")))')));
  return { ...empty, functions: [{ type: 0, locals: [], body }] };
}

test('decodes, renumbers and encodes 20,000 nested blocks', () => {
  const bytes = encodeModule(nestedModule(20_000));
  expect(WebAssembly.validate(bytes)).toBe(true);
  expect(roundTripFault(bytes)).toBeNull();
  const [body] = decodeModule(bytes).functions;
  const instructions = decodeInstructions(body?.body ?? new Uint8Array());
  expect(mapIndices(instructions, { types: (index) => index + 1 })).toEqual(instructions);
});

const withSection = (bytes: Uint8Array, section: readonly number[]) => new Uint8Array([...bytes, 0, section.length, ...section]);
const nameSection = [4, 0x6e, 0x61, 0x6d, 0x65];

test('ignores custom sections, and reads names as far as they are well formed', () => {
  const bytes = assembleText('(module (func (export "f")))');
  const named = (...content: number[]) => decodeModule(withSection(bytes, [...nameSection, ...content])).functionNames;
  expect(named(1, 4, 1, 0, 1, 0x61)).toEqual(new Map([[0, 'a']]));
  expect(named(1, 4, 5, 0, 1, 0x61)).toEqual(new Map([[0, 'a']]));
  expect(named(1, 4, 1, 0, 1, 0xff)).toEqual(new Map());
  expect(named(1, 200)).toEqual(new Map());
  for (const section of [[], [1, 0xff], [9, 0x61], [0x80, 0x80, 0x80]]) {
    expect(contentOf(decodeModule(withSection(bytes, section)))).toEqual(contentOf(decodeModule(bytes)));
  }
});

test('encodes branch hints for the engine, and preserves them when a body is decoded and encoded', () => {
  const instructions = [i32Const(1), ifBlock(undefined, { likely: false }), end, block(), i32Const(0), branchIf(0, { likely: true }), end];
  const hinted = encodeInstructions(instructions);
  expect(decodeBody(hinted)).toEqual(instructions);
  const module: Module = { ...nestedModule(0), functions: [{ type: 0, locals: [{ count: 300, type: 'i64' }], ...hinted }] };
  const bytes = encodeModule(module);
  // Function 0 with two hints: offsets count from the locals, which have 4 bytes here.
  const expected = [1, 0, 2, 6, 1, 0, 13, 1, 1];
  const code = new WebAssembly.Module(bytes);
  const [section] = WebAssembly.Module.customSections(code, 'metadata.code.branch_hint');
  expect([...new Uint8Array(section ?? new ArrayBuffer())]).toEqual(expected);
});

test('decodes exceptions and multiple memories in images', () => {
  const bytes = assembleText(`(module (import "patchbay" "injected" (tag $e)) (memory 1) (memory 2)
    (func (export "f") (block $b (try_table (catch $e $b) (catch_all $b) (drop (i32.load 1 (i32.const 0)))))))`);
  const module = decodeModule(bytes, imageFeatures);
  const [first] = module.functions;
  const instructions = decodeBody({ body: first?.body ?? new Uint8Array() });
  expect(instructions).toContainEqual({
    kind: 'try-table',
    op: 0x1f,
    type: -0x40,
    catches: [
      { kind: 'tag', tag: 0, label: 0 },
      { kind: 'all', tag: 0, label: 0 },
    ],
  });
  expect(instructions).toContainEqual(expect.objectContaining({ kind: 'access', memory: 1 }));
  const { body } = encodeInstructions(instructions);
  expect(WebAssembly.validate(encodeModule({ ...module, functions: [{ type: first?.type ?? 0, locals: [], body }] }))).toBe(true);
  expect(encodeInstructions([plain('nop')]).body).toEqual(new Uint8Array([1]));
});
