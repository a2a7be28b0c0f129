// Safepoints change when a thread gives the processor up and nothing else: instrumented modules compute what they computed, in bounded pieces.

import binaryen from 'binaryen';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { Compiler } from '../../src/compiler/compiler.ts';
import { functionOf } from '../../src/machine/processor.ts';

const compiler = new Compiler();
afterAll(() => compiler.close());

/** A program of nested counted loops, calls and branches over two locals. */
type Statement =
  | { readonly kind: 'mix'; readonly constant: number }
  | { readonly kind: 'loop'; readonly times: number; readonly body: readonly Statement[] }
  | { readonly kind: 'if'; readonly bit: number; readonly body: readonly Statement[] }
  | { readonly kind: 'call' };

const { statement } = fc.letrec<{ statement: Statement; body: readonly Statement[] }>((tie) => ({
  statement: fc.oneof(
    { depthSize: 'small' },
    fc.record({ kind: fc.constant('mix' as const), constant: fc.integer() }),
    fc.record({ kind: fc.constant('call' as const) }),
    fc.record({ kind: fc.constant('loop' as const), times: fc.integer({ min: 1, max: 40 }), body: tie('body') }),
    fc.record({ kind: fc.constant('if' as const), bit: fc.nat(31), body: tie('body') }),
  ),
  body: fc.array(tie('statement'), { maxLength: 3 }),
}));

function textOf(statements: readonly Statement[]): string {
  const counters: string[] = [];
  const print = (one: Statement): string => {
    switch (one.kind) {
      case 'mix':
        return `(local.set $x (i32.add (i32.rotl (i32.xor (local.get $x) (i32.const ${one.constant})) (i32.const 5)) (i32.const 1)))`;
      case 'call':
        return '(local.set $x (call $leaf (local.get $x)))';
      case 'if':
        return `(if (i32.and (local.get $x) (i32.const ${1 << one.bit})) (then ${one.body.map(print).join(' ')}))`;
      case 'loop': {
        const counter = `$counter${counters.length}`;
        const loop = `$loop${counters.length}`;
        counters.push(counter);
        return `(local.set ${counter} (i32.const ${one.times}))
          (loop ${loop} ${one.body.map(print).join(' ')}
            (local.set $x (i32.mul (local.get $x) (i32.const 31)))
            (br_if ${loop} (local.tee ${counter} (i32.sub (local.get ${counter}) (i32.const 1)))))`;
      }
    }
  };
  const body = statements.map(print).join('\n');
  return `(module
    (func $leaf (param i32) (result i32) (i32.xor (i32.mul (local.get 0) (i32.const 7)) (i32.const 3)))
    (func (export "run") (param $x i32) (result i32) ${counters.map((counter) => `(local ${counter} i32)`).join(' ')} ${body} (local.get $x)))`;
}

type Run = (x: number) => unknown;

function instantiate(code: WebAssembly.Module, tick: () => number): Run {
  const global = () => new WebAssembly.Global({ value: 'i32', mutable: true }, 0);
  const patchbay = { stack: global(), effects: global(), tick, suspend: () => {} };
  return functionOf(new WebAssembly.Instance(code, { patchbay }).exports, 'run');
}

const plain = (text: string) => new WebAssembly.Module(new Uint8Array(binaryen.parseText(text).emitBinary()));

async function instrumented(text: string): Promise<WebAssembly.Module> {
  const result = await compiler.compileModule({ module: 'm', version: '1.0.0', language: 'wat', source: text });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  return new WebAssembly.Module(new Uint8Array(result.compiled.image));
}

test('an instrumented program computes what it computed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(statement, { minLength: 1, maxLength: 4 }), fc.integer(), async (statements, x) => {
      const text = textOf(statements);
      const image = instantiate(await instrumented(text), () => 0);
      expect(image(x)).toBe(instantiate(plain(text), () => 0)(x));
    }),
    { numRuns: 60 },
  );
}, 60_000);

test.each([
  [
    'a loop',
    400_000,
    '(func (export "run") (param i32) (result i32) (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 0))',
  ],
  [
    'a loop in a loop',
    400_000,
    '(func (export "run") (param i32) (result i32) (local $j i32) (loop $l (local.set $j (i32.const 3)) (loop $m (br_if $m (local.tee $j (i32.sub (local.get $j) (i32.const 1))))) (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 0))',
  ],
  [
    'recursion',
    4_000,
    '(func $run (export "run") (param i32) (result i32) (if (result i32) (local.get 0) (then (i32.add (i32.const 1) (call $run (i32.sub (local.get 0) (i32.const 1))))) (else (i32.const 0))))',
  ],
])('%s uses fuel in proportion to its work', async (_what, most, func) => {
  const code = await instrumented(`(module ${func})`);
  const ticksOf = (x: number) => {
    let ticks = 0;
    // The fuel is never refilled, so that every safepoint is a tick.
    instantiate(code, () => {
      ticks += 1;
      return 0;
    })(x);
    return ticks;
  };
  expect(ticksOf(most) / ticksOf(most / 4)).toBeCloseTo(4, 0);
});

test('a function that neither loops nor calls has no safepoint', async () => {
  let ticks = 0;
  const code = await instrumented('(module (func (export "run") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))');
  instantiate(code, () => {
    ticks += 1;
    return 0;
  })(1);
  expect(ticks).toBe(0);
});
