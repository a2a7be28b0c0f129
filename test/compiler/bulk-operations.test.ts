// Bulk instructions run in chunks with safepoints in between, with exactly the effect of the instruction.

import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { binaryen } from '../../src/compiler/binaryen.ts';
import { Compiler } from '../../src/compiler/compiler.ts';
import { getExportedFunction } from '../../src/machine/images/instance-exports.ts';

const compiler = new Compiler();
afterAll(() => compiler.close());

const pages = 8;
const elements = 2_000;
const dataBytes = 200_000;

/** A module that exports each instruction, and functions that initialize and hash its memory and tables. */
const text = `(module
  (memory ${pages} 16)
  (table $t ${elements} 3000 funcref)
  (table $u 1500 funcref)
  (table $x 10 4000 externref)
  (func $a (result i32) (i32.const 1)) (func $b (result i32) (i32.const 2)) (func $c (result i32) (i32.const 3))
  (data $d "${'0123456789abcdef'.repeat(dataBytes / 16)}")
  (elem $e func ${'$a $b $c '.repeat(300)})
  (func (export "memory.fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
  (func (export "memory.copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
  (func (export "memory.init") (param i32 i32 i32) (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
  (func (export "table.init") (param i32 i32 i32) (table.init $t $e (local.get 0) (local.get 1) (local.get 2)))
  (func (export "table.copy") (param i32 i32 i32) (table.copy $t $t (local.get 0) (local.get 1) (local.get 2)))
  (func (export "other table.copy") (param i32 i32 i32) (table.copy $u $t (local.get 0) (local.get 1) (local.get 2)))
  (func (export "table.fill") (param i32 i32 i32)
    (table.fill $t (local.get 0) (if (result funcref) (i32.and (local.get 1) (i32.const 1)) (then (ref.func $a)) (else (ref.null func))) (local.get 2)))
  (func (export "table.grow") (param i32 i32 i32) (result i32)
    (table.grow $t (if (result funcref) (i32.and (local.get 1) (i32.const 1)) (then (ref.func $b)) (else (ref.null func))) (local.get 2)))
  (func (export "short copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (i32.const 100)))
  (func (export "prepare") (local $i i32)
    (loop $l
      (i32.store (local.get $i) (i32.mul (local.get $i) (i32.const -1640531527)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const ${pages * 65_536}))))
    (local.set $i (i32.const 0))
    (loop $m
      (table.set $t (local.get $i)
        (if (result funcref) (i32.rem_u (local.get $i) (i32.const 3))
          (then (if (result funcref) (i32.rem_u (local.get $i) (i32.const 7)) (then (ref.func $a)) (else (ref.func $b)))) (else (ref.func $c))))
      (br_if $m (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const ${elements})))))
  (func (export "memory digest") (result i32) (local $i i32) (local $x i32)
    (loop $l
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 31)) (i32.load (local.get $i))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const ${pages * 65_536}))))
    (local.get $x))
  (func $digestTable (param $which i32) (param $size i32) (result i32) (local $i i32) (local $x i32) (local $f funcref)
    (loop $l
      (local.set $f (if (result funcref) (local.get $which) (then (table.get $u (local.get $i))) (else (table.get $t (local.get $i)))))
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 31))
        (if (result i32) (ref.is_null (local.get $f)) (then (i32.const 0))
          (else (if (result i32) (local.get $which) (then (call_indirect $u (result i32) (local.get $i))) (else (call_indirect $t (result i32) (local.get $i))))))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $size))))
    (local.get $x))
  (func (export "table digest") (result i32) (i32.add (i32.add (i32.mul (call $digestTable (i32.const 0) (table.size $t)) (i32.const 31)) (call $digestTable (i32.const 1) (i32.const 1500))) (table.size $t)))
  (elem declare func $a $b $c))`;

type Run = { readonly call: (name: string, ...values: number[]) => unknown; readonly ticks: () => number };

function instantiate(code: WebAssembly.Module): Run {
  let ticks = 0;
  const tick = () => {
    ticks += 1;
    return 0;
  };
  const { exports } = new WebAssembly.Instance(code, { patchbay: { tick, suspend: () => {} } });
  return {
    ticks: () => ticks,
    call: (name, ...values) => {
      try {
        return getExportedFunction(exports, name)(...values);
      } catch (error) {
        if (!(error instanceof WebAssembly.RuntimeError)) throw error;
        return error.message;
      }
    },
  };
}

const plain = (() => {
  const module = binaryen.parseText(text);
  module.setFeatures(binaryen.Features.All);
  return new WebAssembly.Module(new Uint8Array(module.emitBinary()));
})();

async function instrumented(source: string): Promise<WebAssembly.Module> {
  const result = await compiler.compileModule({ module: 'm', version: '1.0.0', language: 'wat', source });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  return new WebAssembly.Module(new Uint8Array(result.compiled.image));
}

/** Positions and lengths near zero, the chunk sizes, the ends, and the largest number. */
const near = (...values: number[]) =>
  fc.tuple(fc.constantFrom(...values), fc.integer({ min: -3, max: 3 })).map(([value, more]) => Math.max(0, value + more) | 0);
const memoryNumber = fc.oneof(fc.nat(pages * 65_536), near(0, 65_536, 131_072, 200_000, pages * 65_536, 2 ** 31, 2 ** 32 - 4));
const tableNumber = fc.oneof(fc.nat(elements), near(0, 256, 512, 900, elements, 2 ** 31, 2 ** 32 - 4));

test.each([
  ['memory.fill', memoryNumber],
  ['memory.copy', memoryNumber],
  ['memory.init', memoryNumber],
  ['short copy', memoryNumber],
  ['table.fill', tableNumber],
  ['table.copy', tableNumber],
  ['other table.copy', tableNumber],
  ['table.init', tableNumber],
  ['table.grow', tableNumber],
])(
  '%s in chunks has the same effect as in one step, including traps',
  async (name, number) => {
    const code = await instrumented(text);
    const digest = name.includes('table') ? 'table digest' : 'memory digest';
    const [first, second] = [instantiate(plain), instantiate(code)];
    fc.assert(
      fc.property(number, number, number, (a, b, c) => {
        for (const run of [first, second]) run.call('prepare');
        expect(second.call(name, a, b, c)).toBe(first.call(name, a, b, c));
        expect(second.call(digest)).toBe(first.call(digest));
      }),
      {
        numRuns: 40,
        examples: [
          [0, 100_000, 300_000],
          [100_000, 0, 300_000],
          [0, 300, 900],
          [300, 0, 900],
          [0, 1, 500],
        ],
      },
    );
  },
  60_000,
);

test.each([
  ['memory.fill', [0, 7, pages * 65_536], pages],
  ['memory.copy', [0, 100, 300_000], 4],
  ['memory.copy', [100, 0, 300_000], 4],
  ['memory.init', [0, 0, dataBytes], 3],
  ['table.fill', [0, 1, elements], 7],
  ['table.copy', [0, 1, 1_999], 7],
  ['table.copy', [1, 0, 1_999], 7],
  ['table.init', [0, 0, 900], 3],
  ['table.grow', [0, 1, 1_000], 3],
])('%s of %j has safepoints in between', async (name, values, atLeast) => {
  const run = instantiate(await instrumented(text));
  run.call(name, ...values);
  expect(run.ticks()).toBeGreaterThanOrEqual(atLeast);
});

test('keeps a short copy of constant length as an instruction', async () => {
  const run = instantiate(await instrumented(text));
  run.call('short copy', 0, 100, 0);
  expect(run.ticks()).toBe(0);
});
