// Safepoints change only when a thread yields: instrumented modules compute the same results, with bounded work between safepoints.

import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { binaryen } from '../../src/compiler/binaryen.ts';
import { Compiler } from '../../src/compiler/compiler.ts';
import { getExportedFunction } from '../../src/machine/images/instance-exports.ts';

const compiler = new Compiler();
afterAll(() => compiler.close());

/** A loop whose index counts up or down to a limit. Near the ends of the integer range, the step is one, because other loops would not end. */
type Counting = {
  readonly min: number;
  readonly isSigned: boolean;
  readonly distance: number;
  readonly step: number;
  readonly isDown: boolean;
  readonly isMirrored: boolean;
  readonly limitIn: 'constant' | 'local' | 'changing local';
  readonly leavesAt: number | null;
};

const range = fc.oneof(
  fc.record({ isSigned: fc.boolean(), min: fc.constantFrom(10_000, 1_000_000), step: fc.integer({ min: 1, max: 30 }) }),
  fc.record({ isSigned: fc.constant(true), min: fc.constantFrom(-(2 ** 31), -100, 0, 2 ** 31 - 20_001), step: fc.constant(1) }),
  fc.record({ isSigned: fc.constant(false), min: fc.constantFrom(0, 2 ** 31 - 100, -20_001), step: fc.constant(1) }),
);
const counting: fc.Arbitrary<Counting> = fc
  .record({
    range,
    distance: fc.nat(200),
    isDown: fc.boolean(),
    isMirrored: fc.boolean(),
    limitIn: fc.constantFrom('constant', 'local', 'changing local'),
    leavesAt: fc.option(fc.nat(31), { freq: 5 }),
  })
  .map(({ range: { isSigned, min, step }, ...rest }) => ({ isSigned, min, step, ...rest }));

function countingText(label: string, index: string, one: Counting, body: string): string {
  const { min, isSigned, distance, step, isDown, isMirrored, limitIn, leavesAt } = one;
  const [start, end] = isDown ? [min + distance, min] : [min, min + distance];
  const compare = `i32.${isDown === isMirrored ? 'lt' : 'gt'}_${isSigned ? 's' : 'u'}`;
  const limit = limitIn === 'constant' ? `(i32.const ${end | 0})` : `(local.get ${index}:limit)`;
  const sides = [`(local.get ${index})`, limit];
  const change =
    limitIn === 'changing local'
      ? `(local.set ${index}:limit (i32.${isDown ? 'add' : 'sub'} ${limit} (i32.and (local.get $x) (i32.const 1))))`
      : '';
  const leave = leavesAt === null ? '' : `(br_if ${label}:out (i32.and (local.get $x) (i32.const ${1 << leavesAt})))`;
  return `(local.set ${index} (i32.const ${start | 0})) (local.set ${index}:limit (i32.const ${end | 0}))
    (block ${label}:out (loop ${label} (if (${compare} ${(isMirrored ? sides.toReversed() : sides).join(' ')})
      (then (local.set $x (i32.add (local.get $x) (local.get ${index}))) ${body} ${leave} ${change}
        (local.set ${index} (i32.add (local.get ${index}) (i32.const ${isDown ? -step : step}))) (br ${label})))))
    (local.set $x (i32.xor (local.get $x) (local.get ${index})))`;
}

/** A program of nested counted loops, calls and branches over two locals. */
type Statement =
  | { readonly kind: 'mix'; readonly constant: number }
  | { readonly kind: 'loop'; readonly times: number; readonly body: readonly Statement[] }
  | ({ readonly kind: 'for'; readonly body: readonly Statement[] } & Counting)
  | { readonly kind: 'if'; readonly bit: number; readonly body: readonly Statement[] }
  | { readonly kind: 'call' };

const { statement } = fc.letrec<{ statement: Statement; body: readonly Statement[] }>((tie) => ({
  statement: fc.oneof(
    { depthSize: 'small' },
    fc.record({ kind: fc.constant('mix' as const), constant: fc.integer() }),
    fc.record({ kind: fc.constant('call' as const) }),
    fc.record({ kind: fc.constant('loop' as const), times: fc.integer({ min: 1, max: 40 }), body: tie('body') }),
    // Innermost loops run long enough to be split into strips.
    fc.tuple(counting, tie('body')).map(([{ distance, ...one }, body]) => {
      const isInnermost = body.every(({ kind }) => kind === 'mix' || kind === 'call');
      return { kind: 'for' as const, body, ...one, distance: isInnermost ? distance * 100 : distance };
    }),
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
      case 'for': {
        const counter = `$counter${counters.length}`;
        const loop = `$loop${counters.length}`;
        counters.push(counter, `${counter}:limit`);
        return countingText(loop, counter, one, one.body.map(print).join(' '));
      }
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
  const patchbay = { tick, suspend: () => {} };
  return getExportedFunction(new WebAssembly.Instance(code, { patchbay }).exports, 'run');
}

const plain = (text: string) => new WebAssembly.Module(new Uint8Array(binaryen.parseText(text).emitBinary()));

async function instrumented(text: string): Promise<WebAssembly.Module> {
  const result = await compiler.compileModule({ module: 'm', version: '1.0.0', language: 'wat', source: text });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  return new WebAssembly.Module(new Uint8Array(result.compiled.image));
}

test('an instrumented program computes the same results', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(statement, { minLength: 1, maxLength: 4 }), fc.integer(), async (statements, x) => {
      const text = textOf(statements);
      const image = instantiate(await instrumented(text), () => 0);
      expect(image(x)).toBe(instantiate(plain(text), () => 0)(x));
    }),
    { numRuns: 250 },
  );
}, 300_000);

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
    'a counted loop',
    4_000_000,
    '(func (export "run") (param i32) (result i32) (local $i i32) (local $x i32) (loop $l (if (i32.lt_s (local.get $i) (local.get 0)) (then (local.set $x (i32.xor (local.get $x) (local.get $i))) (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l)))) (local.get $x))',
  ],
  [
    'a counted loop with steps of -3',
    4_000_000,
    '(func (export "run") (param i32) (result i32) (local $x i32) (loop $l (if (i32.gt_s (local.get 0) (i32.const 0)) (then (local.set $x (i32.xor (local.get $x) (local.get 0))) (local.set 0 (i32.sub (local.get 0) (i32.const 3))) (br $l)))) (local.get $x))',
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
    // The fuel is never refilled, so that every safepoint calls `tick`.
    instantiate(code, () => {
      ticks += 1;
      return 0;
    })(x);
    return ticks;
  };
  expect(ticksOf(most) / ticksOf(most / 4)).toBeCloseTo(4, 0);
});

test.each([
  ['goes away from its limit', '(i32.const -2147483000)', '(local.set $i (i32.add (local.get $i) (i32.const -1)))'],
  [
    'sets its index twice',
    '(i32.const -2147480000)',
    '(local.set $i (i32.add (local.get $i) (i32.const 1))) (if (i32.and (local.get $x) (i32.const 1)) (then (local.set $i (i32.sub (local.get $i) (i32.const 2)))))',
  ],
  [
    'sets its limit',
    '(local.get 0)',
    '(local.set 0 (i32.sub (local.get 0) (i32.const 3))) (local.set $i (i32.add (local.get $i) (i32.const 1)))',
  ],
  ['overshoots its limit and wraps around', '(i32.const 2147483646)', '(local.set $i (i32.add (local.get $i) (i32.const 1000)))'],
])('does not treat a loop that %s as a counted loop', async (_what, limit, change) => {
  const most = 10_000_000;
  const text = `(module (func (export "run") (param i32) (result i32) (local $i i32) (local $x i32)
    (local.set $i (i32.const -2147483100))
    (loop $l (if (i32.lt_s (local.get $i) ${limit})
      (then (local.set $x (i32.add (local.get $x) (i32.const 1))) ${change}
        (if (i32.gt_u (local.get $x) (i32.const ${most})) (then (unreachable))) (br $l))))
    (local.get $x)))`;
  const iterationsOf = (run: Run): unknown => {
    try {
      return run(-2147482000);
    } catch (error) {
      expect(error).toBeInstanceOf(WebAssembly.RuntimeError);
      return most;
    }
  };
  let ticks = 0;
  const image = instantiate(await instrumented(text), () => {
    ticks += 1;
    return 0;
  });
  const iterations = iterationsOf(image);
  expect(iterations).toBe(iterationsOf(instantiate(plain(text), () => 0)));
  expect(ticks).toBeGreaterThan(Number(iterations) / 100);
});

test('charges a loop that exits early for the iterations that it ran', async () => {
  const code = await instrumented(`(module (func (export "run") (param i32) (result i32) (local $i i32)
    (loop $l (if (i32.lt_s (local.get $i) (i32.const 1000000))
      (then (if (i32.eq (local.get $i) (local.get 0)) (then (return (i32.const 7)))) (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l))))
    (local.get $i)))`);
  let ticks = 0;
  const run = instantiate(code, () => {
    ticks += 1;
    return 1_000_000;
  });
  for (let times = 0; times < 10_000; times += 1) run(4);
  expect(ticks).toBeLessThan(10);
});

test('adds no safepoint to a function without loops and calls', async () => {
  let ticks = 0;
  const code = await instrumented('(module (func (export "run") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))');
  instantiate(code, () => {
    ticks += 1;
    return 0;
  })(1);
  expect(ticks).toBe(0);
});
