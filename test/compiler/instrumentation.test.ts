// An instrumented program computes the same results, is charged for at least its work, and does bounded work between safepoints.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  block,
  branch,
  branchIf,
  call,
  callIndirect,
  end,
  globalGet,
  globalSet,
  type Instruction,
  i32Const,
  ifBlock,
  localGet,
  localSet,
  localTee,
  loop,
  opcodes,
  plain,
} from '../../src/compiler/binary/instruction.ts';
import { encodeInstructions } from '../../src/compiler/binary/instruction-codec.ts';
import type { FunctionBody, Module } from '../../src/compiler/binary/module.ts';
import { encodeModule } from '../../src/compiler/binary/writer.ts';
import { instrument } from '../../src/compiler/instrumentation.ts';
import { link } from '../../src/compiler/linker.ts';
import { fuelExport } from '../../src/machine/abi.ts';
import { getExportedFunction } from '../../src/machine/images/instance-exports.ts';

type Statement =
  | { readonly kind: 'mix'; readonly times: number; readonly constant: number }
  | { readonly kind: 'loop'; readonly form: LoopForm; readonly times: number; readonly step: number; readonly body: readonly Statement[] }
  | { readonly kind: 'if'; readonly bit: number; readonly body: readonly Statement[]; readonly otherwise: readonly Statement[] }
  | { readonly kind: 'switch'; readonly cases: readonly (readonly Statement[])[] }
  | { readonly kind: 'call'; readonly callee: number; readonly isIndirect: boolean }
  | { readonly kind: 'leave'; readonly bit: number; readonly label: number };
type LoopForm = 'while' | 'exit' | 'until' | 'until, limit first' | 'until zero' | 'until local' | 'other';

const { statement } = fc.letrec<{ statement: Statement; body: readonly Statement[] }>((tie) => ({
  statement: fc.oneof(
    { depthSize: 'small' },
    fc.record({
      kind: fc.constant('mix' as const),
      times: fc.oneof({ weight: 30, arbitrary: fc.integer({ min: 1, max: 5 }) }, { weight: 1, arbitrary: fc.constant(1_100) }),
      constant: fc.integer(),
    }),
    fc.record({ kind: fc.constant('call' as const), callee: fc.nat(2), isIndirect: fc.boolean() }),
    fc.record({
      kind: fc.constant('loop' as const),
      form: fc.constantFrom<LoopForm>('while', 'exit', 'until', 'until, limit first', 'until zero', 'until local', 'other'),
      times: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.constant(20_000)),
      step: fc.constantFrom(1, 1, -1, 3, -4),
      body: tie('body'),
    }),
    fc.record({ kind: fc.constant('if' as const), bit: fc.nat(31), body: tie('body'), otherwise: tie('body') }),
    fc.record({ kind: fc.constant('switch' as const), cases: fc.array(tie('body'), { minLength: 1, maxLength: 4 }) }),
    fc.record({ kind: fc.constant('leave' as const), bit: fc.nat(31), label: fc.nat(5) }),
  ),
  body: fc.array(tie('statement'), { maxLength: 3 }),
}));
const program = fc.array(fc.array(statement, { maxLength: 4 }), { minLength: 3, maxLength: 3 });

/** Steps after which a program traps, so that every program ends. */
const maxSteps = 1_000_000;
const [x, depth, firstCounter] = [0, 1, 2];
/** Index of the global that counts steps. */
const steps = 0;

/** Returns instructions that count some instructions and themselves. */
const count = (work: number) => [globalGet(steps), i32Const(work + 4), plain('i32.add'), globalSet(steps)];
const bit = (number: number) => [localGet(x), i32Const(1 << number), plain('i32.and')];

/** Writes the instructions of a function, and counts each straight run in advance. */
class CountingWriter {
  readonly out: Instruction[] = [];
  counters = 0;
  readonly #types: number;
  /** Whether each open block is a loop. */
  readonly #open: boolean[] = [];

  constructor(types: number) {
    this.#types = types;
    this.counted(localGet(x), i32Const(1), plain('i32.add'), localSet(x));
    this.#trapWhenTooLong();
  }

  #trapWhenTooLong(): void {
    this.out.push(globalGet(steps), i32Const(maxSteps), plain('i32.gt_u'), ifBlock(), plain('unreachable'), end);
  }

  /** Writes a straight run of instructions. */
  counted(...run: Instruction[]): void {
    this.out.push(...count(run.length), ...run);
  }

  opened(...run: Instruction[]): void {
    this.counted(...run);
    this.#open.push(false);
  }

  close(...run: Instruction[]): void {
    this.out.push(...run, end);
    this.#open.pop();
  }

  all(statements: readonly Statement[]): void {
    for (const statement of statements) this.write(statement);
  }

  write(one: Statement): void {
    switch (one.kind) {
      case 'mix': {
        const mix = [
          localGet(x),
          i32Const(one.constant),
          plain('i32.xor'),
          i32Const(5),
          plain('i32.rotl'),
          i32Const(1),
          plain('i32.add'),
          localSet(x),
        ];
        this.counted(...Array.from({ length: one.times }, () => mix).flat());
        break;
      }
      case 'if':
        this.opened(...bit(one.bit), ifBlock());
        this.all(one.body);
        this.out.push(plain('else'));
        this.all(one.otherwise);
        this.close();
        break;
      case 'switch':
        this.#switch(one.cases);
        break;
      case 'leave':
        this.#leave(one.bit, one.label);
        break;
      case 'call':
        this.opened(localGet(depth), ifBlock());
        this.counted(localGet(x), localGet(depth), i32Const(1), plain('i32.sub'));
        if (one.isIndirect) this.counted(i32Const(one.callee), callIndirect(this.#types, 0), localSet(x));
        else this.counted(call(one.callee), localSet(x));
        this.close();
        break;
      case 'loop':
        this.#loop(one);
        break;
    }
  }

  #leave(condition: number, label: number): void {
    if (this.#open.length === 0) {
      this.counted(...bit(condition), ifBlock(), localGet(x), plain('return'), end);
      return;
    }
    const target = label % this.#open.length;
    // Branches leave the block around a loop; a branch to its start could loop endlessly.
    const isLoop = this.#open[this.#open.length - 1 - target] === true;
    this.counted(...bit(condition), branchIf(isLoop ? target + 1 : target));
  }

  #switch(cases: readonly (readonly Statement[])[]): void {
    for (let opened = 0; opened <= cases.length; opened += 1) this.opened(block());
    const labels = cases.map((_, index) => index);
    this.counted(localGet(x), { kind: 'branch-table', op: opcodes.br_table, labels: [...labels, cases.length] });
    for (const [index, body] of cases.entries()) {
      this.close();
      this.all(body);
      this.out.push(branch(cases.length - 1 - index));
    }
    this.close();
  }

  #loop({ form, times, step, body }: Extract<Statement, { kind: 'loop' }>): void {
    const index = firstCounter + this.counters;
    const limit = index + 1;
    this.counters += 2;
    const up = step > 0;
    const last = times * Math.abs(step) + 2_000;
    const [from, to] = up ? [2_000, last] : [last, 2_000];
    const start = form === 'until zero' ? (times + 1) * -step : from;
    this.counted(i32Const(start), localSet(index), i32Const(to), localSet(limit));
    const limitNow = form === 'until local' ? localGet(limit) : i32Const(to);
    const change = [localGet(index), i32Const(step), plain('i32.add')];
    this.opened(block());
    this.out.push(loop());
    this.#open.push(true);
    // The test runs first, and is not counted.
    if (form === 'while') {
      this.out.push(localGet(index), i32Const(to), plain(up ? 'i32.lt_s' : 'i32.gt_s'), ifBlock());
      this.#open.push(false);
    }
    if (form === 'exit') this.out.push(localGet(index), localGet(limit), plain(up ? 'i32.ge_s' : 'i32.le_s'), branchIf(1));
    this.#trapWhenTooLong();
    this.all(body);
    if (form === 'while') {
      this.out.push(...count(9), ...change, localSet(index), branch(1));
      this.close();
      this.close();
    } else if (form === 'exit') {
      this.out.push(...count(9), ...change, localSet(index), branch(0));
      this.close();
    } else this.close(...count(7), ...this.#lastTest(form, index, times === 0 ? i32Const(to + step) : limitNow, change));
    this.close();
  }

  #lastTest(form: LoopForm, index: number, limit: Instruction, change: readonly Instruction[]): Instruction[] {
    if (form === 'other') return [...change, localSet(index), localGet(index), limit, plain('i32.ne'), branchIf(0)];
    if (form === 'until zero') return [...change, localTee(index), branchIf(0)];
    if (form === 'until, limit first') return [limit, ...change, localTee(index), plain('i32.ne'), branchIf(0)];
    return [...change, localTee(index), limit, plain('i32.ne'), branchIf(0)];
  }
}

function bodyOf(statements: readonly Statement[]): FunctionBody {
  const writer = new CountingWriter(0);
  writer.all(statements);
  writer.out.push(localGet(x));
  return { type: 0, locals: [{ count: Math.max(1, writer.counters), type: 'i32' }], body: encodeInstructions(writer.out).body };
}

const constant = (value: number) => encodeInstructions([i32Const(value)]).body;

/** Returns a module with all functions in its table, and the first one exported. */
function moduleOf(functions: readonly FunctionBody[]): Module {
  return {
    types: [{ parameters: ['i32', 'i32'], results: ['i32'] }],
    imports: [],
    functions,
    tables: [{ element: 'funcref', limits: { initial: functions.length, maximum: functions.length } }],
    memories: [],
    globals: [{ type: { value: 'i32', mutable: true }, init: constant(0) }],
    exports: [
      { name: 'run', kind: 'function', index: 0 },
      { name: 'steps', kind: 'global', index: steps },
    ],
    start: null,
    elements: [
      {
        place: { kind: 'active', index: 0, offset: constant(0) },
        items: { kind: 'functions', indices: functions.map((_, index) => index) },
      },
    ],
    data: [],
    hasDataCount: false,
    functionNames: new Map(),
    customSections: [],
  };
}

const linkOptions = {
  kind: 'driver',
  stubs: { servedGlobal: null, pinnedGlobals: null, stackPointer: null },
  memoryPages: 1,
  tableElements: 10,
} as const;
const imageOf = (module: Module, uninterruptible: readonly number[] = []) =>
  new WebAssembly.Module(encodeModule(link(instrument(module, { uninterruptible: new Set(uninterruptible) }), linkOptions)));

type Outcome = { readonly result: unknown; readonly steps: number };

function outcomeOf(exports: WebAssembly.Instance['exports'], value: number): Outcome {
  const run = getExportedFunction(exports, 'run');
  const numberOf = (name: string) => {
    const { [name]: global } = exports;
    return global instanceof WebAssembly.Global ? Number(global.value) : 0;
  };
  try {
    return { result: run(value, 4), steps: numberOf('steps') };
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    return { result: error.message, steps: numberOf('steps') };
  }
}

/** Runs an image with a constant fuel refill. `longest`: the maximum number of steps between two ticks. */
function measured(code: WebAssembly.Module, value: number, refill: number): Outcome & { longest: number; ticks: number; charged: number } {
  let [ticks, last, longest] = [0, 0, 0];
  const stepsNow = () => (exports['steps'] instanceof WebAssembly.Global ? Number(exports['steps'].value) : 0);
  let charged = 0;
  const fuelNow = () => (exports[fuelExport] instanceof WebAssembly.Global ? Number(exports[fuelExport].value) : 0);
  let full = 0;
  const tick = () => {
    ticks += 1;
    charged += full - fuelNow();
    full = refill;
    longest = Math.max(longest, stepsNow() - last);
    last = stepsNow();
    return refill;
  };
  const { exports } = new WebAssembly.Instance(code, { patchbay: { tick, suspend: () => {} } });
  const outcome = outcomeOf(exports, value);
  longest = Math.max(longest, outcome.steps - last);
  charged += full - fuelNow();
  return { ...outcome, longest, ticks, charged };
}

/** The work of one strip of a counted loop, and of the function before and after it. */
const maxBetweenTicks = 131_072 + 3 * 8_192;

test('an instrumented program computes the same results, with bounded work between safepoints, and is charged for all its work', () => {
  fc.assert(
    fc.property(program, fc.integer(), (functions, value) => {
      const module = moduleOf(functions.map(bodyOf));
      const expected = outcomeOf(new WebAssembly.Instance(new WebAssembly.Module(encodeModule(module)), {}).exports, value);
      const code = imageOf(module);
      const { longest, charged: _, ticks: _ticks, ...outcome } = measured(code, value, 0);
      expect(outcome).toEqual(expected);
      expect(longest).toBeLessThanOrEqual(maxBetweenTicks);
      const { charged } = measured(code, value, 100_000_000);
      expect(charged + 8_192).toBeGreaterThanOrEqual(expected.steps);
    }),
    { numRuns: 150 },
  );
}, 120_000);

/** Returns a module of one function with three locals after its parameters. */
const single = (instructions: readonly Instruction[]) =>
  moduleOf([{ type: 0, locals: [{ count: 3, type: 'i32' }], body: encodeInstructions(instructions).body }]);
const addOne = (local: number) => [localGet(local), i32Const(1), plain('i32.add'), localTee(local)];
const work = [localGet(3), i32Const(31), plain('i32.mul'), localGet(2), plain('i32.add'), localSet(3)];

test.each<[string, readonly Instruction[]]>([
  [
    'tests first in an if',
    [
      loop(),
      localGet(2),
      localGet(0),
      plain('i32.lt_u'),
      ifBlock(),
      ...work,
      ...addOne(2),
      localSet(2),
      branch(1),
      end,
      end,
      localGet(3),
    ].filter((item) => item.op !== opcodes['local.tee']),
  ],
  [
    'leaves by a branch before its body',
    [
      block(),
      loop(),
      ...[localGet(0), localGet(2), plain('i32.le_s'), branchIf(1)],
      ...work,
      ...[localGet(2), i32Const(-1), plain('i32.sub'), localSet(2)],
      branch(0),
      end,
      end,
      localGet(3),
    ],
  ],
  ['tests last', [loop(), ...work, ...addOne(2), localGet(0), plain('i32.ne'), branchIf(0), end, localGet(3)]],
  ['tests last with its limit first', [loop(), ...work, localGet(0), ...addOne(2), plain('i32.ne'), branchIf(0), end, localGet(3)]],
  ['counts down to 0', [loop(), ...work, localGet(0), i32Const(4), plain('i32.sub'), localTee(0), branchIf(0), end, localGet(3)]],
])('a loop that %s is strip-mined', (_what, instructions) => {
  const module = single(instructions);
  const value = 400_000;
  const expected = outcomeOf(new WebAssembly.Instance(new WebAssembly.Module(encodeModule(module)), {}).exports, value);
  const { ticks, result } = measured(imageOf(module), value, 0);
  expect(result).toBe(expected.result);
  expect(ticks).toBeGreaterThan(5);
  expect(ticks).toBeLessThan(60);
});

/** More work than the loops have that are unrolled. */
const muchWork = Array.from({ length: 5 }, () => work).flat();
const countDown = [localGet(0), i32Const(1), plain('i32.sub'), localTee(0)];

test.each<[string, number, readonly Instruction[]]>([
  [
    'branches back by a condition: once for each branch',
    9,
    [loop(), ...muchWork, ...countDown, i32Const(0), plain('i32.gt_s'), branchIf(0), end],
  ],
  [
    'branches back in an if: once for each branch',
    9,
    [loop(), ...muchWork, ...countDown, i32Const(0), plain('i32.gt_s'), ifBlock(), branch(1), end, end],
  ],
  [
    'has two branches back: once for each iteration',
    10,
    [loop(), ...muchWork, localGet(0), i32Const(5), plain('i32.eq'), ifBlock(), ...countDown, branchIf(1), end]
      .concat(countDown)
      .concat(i32Const(0), plain('i32.gt_s'), branchIf(0), end),
  ],
  [
    'branches back at the end of a counted loop: once for each iteration, and for each strip of the counted loop',
    10 + 9,
    [block(), loop(), ...muchWork, ...countDown, plain('i32.eqz'), branchIf(1), i32Const(0), localSet(2)]
      .concat(loop(), localGet(2), i32Const(3), plain('i32.ge_s'), branchIf(1), localGet(2), i32Const(1), plain('i32.add'), localSet(2))
      .concat(branch(0), end, end, end),
  ],
])('charges a loop that %s', (_how, expected, instructions) => {
  const module = single([...instructions, localGet(3)]);
  const plainCode = new WebAssembly.Module(encodeModule(module));
  const { ticks, result } = measured(imageOf(module), 10, 0);
  expect(result).toBe(outcomeOf(new WebAssembly.Instance(plainCode, {}).exports, 10).result);
  expect(ticks).toBe(expected);
});

test('a driver has a safepoint before its first call', () => {
  const module = single([loop(), ...muchWork, ...countDown, i32Const(0), plain('i32.gt_s'), branchIf(0), end, localGet(3)]);
  const image = encodeModule(link(instrument(module, { isDriver: true }), linkOptions));
  expect(measured(new WebAssembly.Module(image), 1, 0).ticks).toBe(1);
});

const recursion = (again: readonly Instruction[]) => [
  localGet(0),
  plain('i32.eqz'),
  ifBlock(),
  i32Const(1),
  plain('return'),
  end,
  ...again,
  ...again,
  plain('i32.add'),
];
const oneLess = [localGet(0), i32Const(1), plain('i32.sub'), i32Const(0)];

test.each([
  ['directly', moduleOf([recursionBody([...oneLess, call(0)])])],
  ['through the table', moduleOf([recursionBody([...oneLess, i32Const(0), callIndirect(0, 0)])])],
  ['by way of another function', moduleOf([recursionBody([...oneLess, call(1)]), recursionBody([...oneLess, call(0)])])],
  [
    'by way of another, through the table',
    moduleOf([recursionBody([...oneLess, i32Const(1), callIndirect(0, 0)]), recursionBody([...oneLess, call(0)])]),
  ],
])('charges a function that calls itself %s at least at every eighth level', (_how, module) => {
  const { ticks, result } = measured(imageOf(module), 14, 0);
  expect(result).toBe(2 ** 14);
  expect(ticks).toBeGreaterThan(2 ** 14 / 256);
});

test('charges functions that call themselves once, through the table, at every level', () => {
  const tableCall = (target: number) => [...oneLess, i32Const(target), callIndirect(0, 0)];
  const body = (target: number): FunctionBody => {
    const instructions = [localGet(0), plain('i32.eqz'), ifBlock(), i32Const(1), plain('return'), end, ...tableCall(target)];
    return { type: 0, locals: [], body: encodeInstructions(instructions).body };
  };
  // The recursion is entered directly, and through the table.
  for (const functions of [[body(0)], [body(1), body(1)]]) {
    expect(measured(imageOf(moduleOf(functions)), 1_000, 0).ticks).toBeGreaterThanOrEqual(999);
  }
});

function recursionBody(again: readonly Instruction[]): FunctionBody {
  return { type: 0, locals: [], body: encodeInstructions(recursion(again)).body };
}

test('charges an exported function that calls another module, which may call back', () => {
  const own = moduleOf([{ type: 0, locals: [], body: encodeInstructions([localGet(0), localGet(1), call(0)]).body }]);
  const module: Module = {
    ...own,
    imports: [{ kind: 'function', module: 'tcp', name: 'work', type: 0 }],
    exports: [{ name: 'run', kind: 'function', index: 1 }],
    elements: [],
  };
  const kernel: Module = { ...module, imports: [{ kind: 'function', module: 'kernel', name: 'emit', type: 0 }] };
  expect(instrument(module).functions[0]?.body.length).toBeGreaterThan(10);
  expect(instrument(kernel).functions[0]?.body.length).toBeLessThan(10);
});

test('functions that must not be interrupted, and their callees, only count; their caller yields', () => {
  const looping = [loop(), ...work, ...addOne(2), localGet(0), plain('i32.ne'), branchIf(0), end, localGet(3)];
  const body = (...instructions: readonly Instruction[]): FunctionBody => ({
    type: 0,
    locals: [{ count: 3, type: 'i32' }],
    body: encodeInstructions(instructions).body,
  });
  const again = [loop(), localGet(0), localGet(1), call(1), localSet(3), ...addOne(4), i32Const(10), plain('i32.ne'), branchIf(0), end];
  const module = moduleOf([body(...again, localGet(3)), body(localGet(0), localGet(1), call(2)), body(...looping)]);
  const free = measured(imageOf(module), 1_000_000, 0);
  const held = measured(imageOf(module, [1]), 1_000_000, 0);
  expect(held.result).toBe(free.result);
  expect(free.ticks).toBeGreaterThan(100);
  expect(held.ticks).toBeLessThanOrEqual(13);
  expect(held.ticks).toBeGreaterThanOrEqual(10);
});

test('charges a switch of many cases for one case', () => {
  const cases = 1_000;
  const mix = Array.from({ length: 5 }, () => work).flat();
  const dispatch: Instruction[] = [
    block(),
    loop(),
    ...Array.from({ length: cases }, () => block()),
    localGet(2),
    i32Const(cases),
    plain('i32.rem_u'),
  ];
  dispatch.push({ kind: 'branch-table', op: opcodes.br_table, labels: Array.from({ length: cases }, (_, index) => index) });
  for (let index = 0; index < cases; index += 1) {
    const toLoop = cases - 1 - index;
    dispatch.push(end, ...mix, ...addOne(2), localGet(0), plain('i32.eq'), branchIf(toLoop + 1), branch(toLoop));
  }
  dispatch.push(end, end, localGet(3));
  const { charged } = measured(imageOf(single(dispatch)), 100_000, 1_000_000);
  expect(charged).toBeGreaterThan(100_000 * mix.length);
  expect(charged).toBeLessThan(100_000 * mix.length * 4);
});

test('charges a branch table of 65,000 labels for the search', () => {
  const jumping = (labels: number) =>
    single([
      loop(),
      block(),
      localGet(2),
      { kind: 'branch-table', op: opcodes.br_table, labels: Array.from({ length: labels }, () => 0) },
      end,
      ...addOne(2),
      localGet(0),
      plain('i32.ne'),
      branchIf(0),
      end,
      localGet(3),
    ]);
  const [short, long] = [64, 65_000].map((labels) => measured(imageOf(jumping(labels)), 10_000, 1_000_000).charged);
  expect((long ?? 0) - (short ?? 0)).toBeGreaterThan(10_000 * 100);
});

test('charges a function for its local variables, which the engine clears at every call', () => {
  const calling = [
    loop(),
    localGet(0),
    localGet(1),
    call(1),
    localSet(3),
    ...addOne(2),
    localGet(0),
    plain('i32.ne'),
    branchIf(0),
    end,
    localGet(3),
  ];
  const withLocals = (count: number) => {
    const callee: FunctionBody = { type: 0, locals: [{ count, type: 'i32' }], ...encodeInstructions([localGet(0)]) };
    return moduleOf([...single(calling).functions, callee]);
  };
  const [few, many] = [1, 40_000].map((count) => measured(imageOf(withLocals(count)), 1_000, 1_000_000).charged);
  expect((many ?? 0) - (few ?? 0)).toBeGreaterThan(1_000 * (40_000 / 20));
});

const nested = (depthOfNest: number, open: readonly Instruction[], close: readonly Instruction[]) => {
  const times = (instructions: readonly Instruction[]) => Array.from({ length: depthOfNest }, () => instructions).flat();
  return single([times(open), times(close), [localGet(0)]].flat());
};

test.each([
  ['20,000 ifs nested', () => nested(20_000, [localGet(0), ifBlock()], [end])],
  ['20,000 loops nested', () => nested(20_000, [loop()], [localGet(0), branchIf(0), end])],
  ['20,000 counted loops nested', () => nested(20_000, [loop()], [...addOne(2), i32Const(0), plain('i32.ne'), branchIf(0), end])],
  ['10,000 counted loops', () => nested(10_000, [loop(), ...addOne(2), localGet(0), plain('i32.ne'), branchIf(0), end], [])],
  ['300,000 instructions', () => nested(100_000, [localGet(0), plain('drop'), plain('nop')], [])],
  ['20,000 functions that call each other in a cycle', () => moduleOf(ring(20_000))],
  [
    'a chain of 20,000 functions',
    () =>
      moduleOf(ring(20_000).map((body, index, all) => (index === all.length - 1 ? (single([localGet(0)]).functions[0] ?? body) : body))),
  ],
])('instruments %s', (_what, make) => {
  const module = make();
  const before = encodeModule(module).length;
  const image = encodeModule(link(instrument(module), { ...linkOptions, tableElements: 20_000 }));
  expect(WebAssembly.validate(image)).toBe(true);
  expect(image.length).toBeLessThan(before * 8 + 1_000);
});

function ring(size: number): FunctionBody[] {
  return Array.from({ length: size }, (_, index) => ({
    type: 0,
    locals: [],
    body: encodeInstructions([localGet(0), localGet(1), call((index + 1) % size)]).body,
  }));
}

test('limits the number of instructions that copies of loop bodies add to a module', () => {
  const tiny = [loop(), loop(), loop(), localGet(0), branchIf(0), end, localGet(0), branchIf(0), end, localGet(0), branchIf(0), end];
  const sizeOf = (loops: number) => encodeModule(instrument(nested(loops, tiny, []))).length;
  const most = 2_000_000;
  expect(sizeOf(12_000) - 2 * sizeOf(6_000)).toBeLessThan(0);
  expect(sizeOf(6_000)).toBeLessThan(6_000 * (21 + 3 * 40) + most);
});

test('rejects a function that is too large for the engine with its safepoints', () => {
  const loops = nested(200_000, [loop(), localGet(0), branchIf(0), end], []);
  expect(() => instrument(loops)).toThrow(/^function 0 has \d+ bytes with its safepoints \(\d+ without\); the limit is 7000000: split it/);
});
