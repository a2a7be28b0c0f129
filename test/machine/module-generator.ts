// Generates random modules for the differential fuzzer: sets of modules in text format that call each other, reproducible from a seed.

/** Pseudorandom numbers from a seed (mulberry32). */
export class RandomNumbers {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Returns an integer from 0 to `limit - 1`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('there is nothing to pick from');
    return item;
  }
}

const numberTypes = ['i32', 'i64', 'f32', 'f64'] as const;
type NumberType = (typeof numberTypes)[number];
type Type = NumberType | 'v128';
const allTypes = [...numberTypes, 'v128'] as const;

type Signature = { readonly parameters: readonly Type[]; readonly results: readonly Type[] };
type Callee = Signature & { readonly name: string; readonly cost: number };
/** A function that the preceding modules may import. */
type Offer = Callee & { readonly module: string };

export type EntryType = { readonly parameters: readonly NumberType[]; readonly results: readonly NumberType[] };
/** Types of the functions called from outside. There are few, so that each driver is compiled once. */
export const entryTypes: readonly EntryType[] = [
  { parameters: ['i32', 'i64'], results: ['i64'] },
  { parameters: ['f64', 'i32'], results: ['i32', 'f64'] },
  { parameters: ['i32'], results: ['i32', 'i64', 'f32'] },
  { parameters: ['i64', 'f32', 'i32'], results: ['f32', 'i64'] },
];

export type GeneratedModule = { readonly name: string; readonly text: string; readonly entryType: number };
export type GeneratedSet = {
  /** Calls of a `pure` set are independent, so threads may run them concurrently. A `stateful` set keeps state in memories, globals and tables. */
  readonly kind: 'pure' | 'stateful';
  /** The first is called from outside; each module imports from the modules after it. */
  readonly modules: readonly GeneratedModule[];
  readonly calls: readonly (readonly (number | bigint)[])[];
};

/** Base of the C stack in modules with frames; the stack grows down. */
const stackBase = 32_768;
/** Bytes at 0 (static data) and at `stackBase` (heap) that stateful modules write and checksums cover. */
const dataBytes = 1_024;
/** Bytes above the variables of a frame for a canary, which must be unchanged at the exit. */
const canaryBytes = 16;
/** Bytes below the stack pointer that a function may use without moving the pointer. */
const redZone = 128;
/** Bytes beyond the first page of a large memory, written by long instructions and sampled by checksums. */
const farBytes = 3 * 65_536;
/** Distance between two samples of a checksum. */
const sampleDistance = 61;
/** Cost of a long instruction. */
const longCost = 400;
/** Maximum cost of one function, in nodes, with loops and calls multiplied out. */
const costLimit = 4_000;
/** Maximum cost of a function that is called through the table. */
const leafCostLimit = 200;
const tableSize = 8;

/** Generates the set of a seed. */
export function generateSet(seed: number): GeneratedSet {
  const random = new RandomNumbers(seed);
  const kind = random.chance(50) ? 'pure' : 'stateful';
  const names = ['a', 'b', 'c'].slice(0, 1 + random.below(3));
  let offers: Offer[] = [];
  const modules: GeneratedModule[] = [];
  for (const name of names.toReversed()) {
    const generator = new ModuleGenerator(random, kind === 'pure', name, offers);
    modules.unshift(generator.module());
    offers = [...offers, ...generator.offers];
  }
  const type = entryTypes[modules[0]?.entryType ?? 0];
  const calls = Array.from({ length: 2 + random.below(7) }, () => (type?.parameters ?? []).map((parameter) => argument(random, parameter)));
  return { kind, modules, calls };
}

const integers = [0, 1, 2, 3, 7, 8, 31, 63, 64, 255, 1_000, 65_535, 0x7fff_ffff, -1, -2, -128, -0x8000_0000];
const floats = [0, 1, -1, 0.5, -2.25, 1e10, -1e-10, 3.4e38, 255, 65_536, 2_147_483_648];

function argument(random: RandomNumbers, type: NumberType): number | bigint {
  if (type === 'i32') return random.chance(50) ? random.pick(integers) : random.below(2 ** 32) | 0;
  if (type === 'i64') return (BigInt(random.pick(integers)) << BigInt(random.below(3) * 16)) ^ BigInt(random.below(2 ** 32));
  return random.chance(70) ? Math.fround(random.pick(floats)) : random.below(2 ** 32) / 256;
}

/** Replaces any NaN by one canonical NaN, because the specification does not fix the NaN that float instructions return. */
const canonical = `
  (func $nan-f32 (param f32) (result f32) (select (f32.const nan) (local.get 0) (f32.ne (local.get 0) (local.get 0))))
  (func $nan-f64 (param f64) (result f64) (select (f64.const nan) (local.get 0) (f64.ne (local.get 0) (local.get 0))))
  (func $nan-f32x4 (param v128) (result v128)
    (v128.bitselect (local.get 0) (v128.const i32x4 0x7fc00000 0x7fc00000 0x7fc00000 0x7fc00000) (f32x4.eq (local.get 0) (local.get 0))))
  (func $nan-f64x2 (param v128) (result v128)
    (v128.bitselect (local.get 0) (v128.const i64x2 0x7ff8000000000000 0x7ff8000000000000) (f64x2.eq (local.get 0) (local.get 0))))`;

const words = (list: string) => list.trim().split(/\s+/);

const binaries: Readonly<Record<NumberType, readonly string[]>> = {
  i32: words('add sub mul and or xor shl shr_s shr_u rotl rotr'),
  i64: words('add sub mul and or xor shl shr_s shr_u rotl rotr'),
  f32: words('add sub mul div min max'),
  f64: words('add sub mul div min max'),
};
const comparisons: Readonly<Record<NumberType, readonly string[]>> = {
  i32: words('eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u'),
  i64: words('eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u'),
  f32: words('eq ne lt gt le ge'),
  f64: words('eq ne lt gt le ge'),
};
const unaries: Readonly<Record<NumberType, readonly string[]>> = {
  i32: words('clz ctz popcnt extend8_s extend16_s'),
  i64: words('clz ctz popcnt extend8_s extend16_s extend32_s'),
  f32: words('ceil floor trunc nearest sqrt'),
  f64: words('ceil floor trunc nearest sqrt'),
};
/** Conversions by result type: the instruction and the type of its operand. */
const conversions: Readonly<Record<NumberType, readonly (readonly [string, NumberType])[]>> = {
  i32: [
    ['i32.wrap_i64', 'i64'],
    ['i32.trunc_sat_f32_s', 'f32'],
    ['i32.trunc_sat_f64_u', 'f64'],
    ['i32.reinterpret_f32', 'f32'],
  ],
  i64: [
    ['i64.extend_i32_s', 'i32'],
    ['i64.extend_i32_u', 'i32'],
    ['i64.trunc_sat_f32_u', 'f32'],
    ['i64.trunc_sat_f64_s', 'f64'],
    ['i64.reinterpret_f64', 'f64'],
  ],
  f32: [
    ['f32.convert_i32_s', 'i32'],
    ['f32.convert_i64_u', 'i64'],
    ['f32.demote_f64', 'f64'],
    ['f32.reinterpret_i32', 'i32'],
  ],
  f64: [
    ['f64.convert_i32_u', 'i32'],
    ['f64.convert_i64_s', 'i64'],
    ['f64.promote_f32', 'f32'],
    ['f64.reinterpret_i64', 'i64'],
  ],
};
const loads: Readonly<Record<Type, readonly string[]>> = {
  i32: words('i32.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u'),
  i64: words('i64.load i64.load8_u i64.load16_s i64.load32_u'),
  f32: ['f32.load'],
  f64: ['f64.load'],
  v128: words('v128.load v128.load8_splat v128.load32_splat v128.load8x8_s v128.load16x4_u v128.load32_zero v128.load64_zero'),
};
const stores: Readonly<Record<Type, readonly string[]>> = {
  i32: words('i32.store i32.store8 i32.store16'),
  i64: words('i64.store i64.store8 i64.store16 i64.store32'),
  f32: ['f32.store'],
  f64: ['f64.store'],
  v128: ['v128.store'],
};
const vectorBinaries = words(`i8x16.add i8x16.sub i8x16.add_sat_s i8x16.sub_sat_u i8x16.min_s i8x16.max_u i8x16.avgr_u i8x16.eq i8x16.lt_s
  i8x16.swizzle i8x16.narrow_i16x8_s i16x8.add i16x8.mul i16x8.sub_sat_s i16x8.q15mulr_sat_s i16x8.extmul_low_i8x16_s i16x8.narrow_i32x4_u i16x8.gt_u
  i32x4.add i32x4.mul i32x4.min_u i32x4.dot_i16x8_s i32x4.extmul_high_i16x8_u i32x4.ne i64x2.add i64x2.mul i64x2.extmul_low_i32x4_s i64x2.gt_s
  v128.and v128.or v128.xor v128.andnot`);
const vectorFloats = words(
  'f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max f32x4.pmin f64x2.add f64x2.mul f64x2.div f64x2.max f64x2.pmax',
);
const vectorUnaries =
  words(`v128.not i8x16.abs i8x16.neg i8x16.popcnt i16x8.abs i16x8.extend_low_i8x16_s i16x8.extadd_pairwise_i8x16_u i32x4.neg
  i32x4.extend_high_i16x8_u i32x4.extadd_pairwise_i16x8_s i64x2.abs i64x2.extend_low_i32x4_u i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f64x2_u_zero`);

/** State of the function being generated. */
type Scope = {
  readonly locals: Map<Type, string[]>;
  readonly declared: string[];
  readonly callees: readonly Callee[];
  /** Whether `$frame` is the address of a frame of `frameBytes`. */
  readonly frameBytes: number;
  /** Whether the function is in the table; it must not call through the table then. */
  readonly isLeaf: boolean;
  /** Label and results of the block that ends the function. */
  readonly exit: { readonly label: string; readonly results: readonly Type[] };
  cost: number;
  /** How often the code at the current position runs. */
  times: number;
  labels: number;
};

class ModuleGenerator {
  readonly offers: Offer[] = [];
  readonly #random: RandomNumbers;
  readonly #isPure: boolean;
  readonly #name: string;
  readonly #imports: readonly Offer[];
  readonly #hasMemory: boolean;
  /** Whether the memory is large enough for instructions that the compiler splits. */
  readonly #isLarge: boolean;
  readonly #globals: Type[] = [];

  constructor(random: RandomNumbers, isPure: boolean, name: string, offers: readonly Offer[]) {
    this.#random = random;
    this.#isPure = isPure;
    this.#name = name;
    this.#imports = offers.filter(() => random.chance(70)).slice(0, 6);
    this.#hasMemory = random.chance(75);
    this.#isLarge = this.#hasMemory && !isPure && random.chance(40);
    for (let count = random.below(4); count > 0; count -= 1) this.#globals.push(random.pick(allTypes));
  }

  module(): GeneratedModule {
    const random = this.#random;
    const entryType = random.below(entryTypes.length);
    const imported = this.#imports.map(({ module, name, ...type }) => ({ ...type, name: `$${module}-${name}` }));
    const functions: string[] = [];
    const leaves: Callee[] = Array.from({ length: tableSize / 2 }, (_, index) => ({
      name: `$leaf${index}`,
      parameters: ['i32'],
      results: ['i32'],
      cost: 0,
    }));
    const callees: Callee[] = [...imported];
    for (const leaf of leaves) functions.push(this.#function(leaf, [], false).text);
    const count = 1 + random.below(4);
    for (let index = 0; index < count; index += 1) {
      const type: Signature = { parameters: this.#types(3), results: this.#types(3) };
      const { text, cost } = this.#function({ ...type, name: `$f${index}` }, callees, random.chance(30));
      functions.push(text);
      const name = `f${index}`;
      callees.push({ ...type, name: `$${name}`, cost });
      this.offers.push({ ...type, module: this.#name, name, cost });
    }
    const type = entryTypes[entryType] ?? { parameters: [], results: [] };
    functions.push(this.#function({ ...type, name: '$run' }, callees, random.chance(20)).text);
    return { name: this.#name, entryType, text: this.#moduleText(functions, count) };
  }

  #moduleText(functions: readonly string[], count: number): string {
    const imports = this.#imports.map(
      ({ module, name, parameters, results }) =>
        `(import "${module}" "${name}" (func $${module}-${name} ${typeText(parameters, results)}))`,
    );
    const globals = this.#globals.map((type, index) => {
      const declared = this.#isPure ? type : `(mut ${type})`;
      return `(global $g${index} ${declared} ${this.#constant(type)})`;
    });
    const exports = Array.from({ length: count }, (_, index) => `(export "f${index}" (func $f${index}))`);
    const random = this.#random;
    const data = Array.from({ length: 200 }, () => `\\${random.below(256).toString(16).padStart(2, '0')}`).join('');
    const memory = `
      (global $stack (mut i32) (i32.const ${stackBase}))
      (export "${random.chance(50) ? '__stack_pointer' : 'sp'}" (global $stack))
      (memory ${this.#isLarge ? '4 6' : '1 3'})
      (data (i32.const 0) "${data}")
      (data $passive "${data}")`;
    const filled = Array.from({ length: tableSize - 1 }, (_, index) => `$leaf${index % (tableSize / 2)}`).join(' ');
    return `(module
      ${imports.join('\n')}
      (type $leaf-type (func (param i32) (result i32)))
      ${this.#hasMemory ? memory : ''}
      (table $table ${tableSize} funcref)
      (elem (table $table) (i32.const 0) func ${filled})
      (elem $elements func $leaf0 $leaf1)
      ${globals.join('\n')}
      ${exports.join('\n')}
      (export "run" (func $run))
      (export "checksum" (func $checksum))
      ${canonical}
      ${functions.join('\n')}
      ${this.#checksum()}
    )`;
  }

  /** Generates a function that returns a hash of the memory outside the C stack and of all globals. */
  #checksum(): string {
    const mix = (value: string) => `(local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 0x100000001b3)) ${value}))`;
    const words = ['0', `${stackBase}`].map((offset) => mix(`(i64.load offset=${offset} (local.get $at))`)).join('\n');
    const far = `
      (local.set $at (i32.const 0))
      (loop $next-far ${mix('(i64.load offset=65536 (local.get $at))')}
        (local.set $at (i32.add (local.get $at) (i32.const ${sampleDistance})))
        (br_if $next-far (i32.lt_u (local.get $at) (i32.const ${farBytes - 8}))))`;
    const memory = `
      (loop $next ${words}
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const ${dataBytes}))))
      ${this.#isLarge ? far : ''}
      ${mix('(i64.extend_i32_u (memory.size))')}
      ${mix('(i64.extend_i32_u (global.get $stack))')}`;
    const globals = this.#globals.map((type, index) => {
      const value = `(global.get $g${index})`;
      if (type === 'v128') return mix(`(i64x2.extract_lane 0 ${value})`) + mix(`(i64x2.extract_lane 1 ${value})`);
      if (type === 'f32') return mix(`(i64.extend_i32_u (i32.reinterpret_f32 ${value}))`);
      if (type === 'f64') return mix(`(i64.reinterpret_f64 ${value})`);
      return mix(type === 'i32' ? `(i64.extend_i32_u ${value})` : value);
    });
    return `(func $checksum (result i64) (local $sum i64) (local $at i32) ${this.#hasMemory ? memory : ''} ${globals.join('\n')} (local.get $sum))`;
  }

  #types(maximum: number): Type[] {
    return Array.from({ length: this.#random.below(maximum + 1) }, () => this.#random.pick(allTypes));
  }

  /** Generates one function. A recursive one calls an inner function with a depth, which the inner function counts down. */
  #function(
    target: Signature & { readonly name: string },
    callees: readonly Callee[],
    isRecursive: boolean,
  ): { text: string; cost: number } {
    const { name, parameters, results } = target;
    if (!isRecursive) return this.#plain(name, parameters, results, callees);
    const inner = `${name}-inner`;
    const depth = 2 + this.#random.below(5);
    const recursive: Callee = { name: inner, parameters: ['i32', ...parameters], results, cost: 0 };
    const body = this.#plain(inner, recursive.parameters, results, callees, recursive);
    const passed = parameters.map((_, index) => `(local.get ${index})`).join(' ');
    const text = `${body.text}
      (func ${name} ${typeText(parameters, results)} (call ${inner} (i32.const ${depth}) ${passed}))`;
    return { text, cost: body.cost * (depth + 1) };
  }

  #plain(name: string, parameters: readonly Type[], results: readonly Type[], callees: readonly Callee[], recursive?: Callee) {
    const random = this.#random;
    const frameBytes = this.#hasMemory && random.chance(60) ? 16 * 2 ** random.below(6) : 0;
    const locals = new Map<Type, string[]>(allTypes.map((type) => [type, []]));
    const isLeaf = name.startsWith('$leaf');
    const scope: Scope = {
      locals,
      declared: [],
      callees,
      frameBytes,
      isLeaf,
      exit: { label: '$exit', results },
      cost: 10,
      times: 1,
      labels: 0,
    };
    // The depth of a recursion must not be assigned.
    for (const [index, type] of parameters.entries()) if (recursive === undefined || index > 0) locals.get(type)?.push(`$p${index}`);
    for (const type of allTypes) this.#local(scope, type);
    const steps = this.#statements(scope, 2 + random.below(5), 3);
    const again = recursive === undefined ? '' : this.#recursion(scope, recursive);
    const values = results.map((type) => withFrame(type, this.#expression(scope, type, 3), frameBytes)).join('\n');
    const named = parameters.map((type, index) => `(param $p${index} ${type})`).join(' ');
    // A leaf's frame may lie below the stack pointer, in the red zone.
    const size = frameBytes + canaryBytes;
    const isBelow = isLeaf && size <= redZone && random.chance(30);
    const bottom = `(i32.sub (global.get $stack) (i32.const ${size}))`;
    const enter = isBelow ? `(local.set $frame ${bottom})` : `(global.set $stack (local.tee $frame ${bottom}))`;
    const canary = canaryText(parameters);
    const prologue = `${enter} (memory.fill (local.get $frame) (i32.const 0) (i32.const ${frameBytes}))
      (local.set $canary ${canary}) (i64.store offset=${frameBytes} (local.get $frame) (local.get $canary))`;
    const check = `(if (i64.ne (i64.load offset=${frameBytes} (local.get $frame)) (local.get $canary)) (then (unreachable)))`;
    const leave = isBelow ? '' : `(global.set $stack (i32.add (local.get $frame) (i32.const ${size})))`;
    const text = `(func ${name} ${named} ${resultText(results)}
      (local $frame i32) (local $canary i64) ${scope.declared.join(' ')}
      ${frameBytes === 0 ? '' : prologue}
      (block $exit ${resultText(results)} ${steps} ${again} ${values})
      ${frameBytes === 0 ? '' : `${check} ${leave}`})`;
    return { text, cost: scope.cost };
  }

  #recursion(scope: Scope, { name, parameters, results }: Callee): string {
    const values = parameters.slice(1).map((type) => this.#expression(scope, type, 1));
    const call = `(call ${name} (i32.sub (local.get $p0) (i32.const 1)) ${values.join(' ')})`;
    return `(if (i32.gt_s (local.get $p0) (i32.const 0)) (then ${this.#take(scope, call, results)}))`;
  }

  /** Generates a call whose results are stored in locals or dropped. */
  #take(scope: Scope, call: string, results: readonly Type[]): string {
    const taken = results.toReversed().map((type) => (this.#random.chance(80) ? `(local.set ${this.#anyLocal(scope, type)})` : '(drop)'));
    return `${call} ${taken.join(' ')}`;
  }

  #local(scope: Scope, type: Type): string {
    const name = `$l${scope.declared.length}`;
    scope.declared.push(`(local ${name} ${type})`);
    scope.locals.get(type)?.push(name);
    return name;
  }

  /** Declares a local that no other statement assigns. */
  #counter(scope: Scope): string {
    const name = `$l${scope.declared.length}`;
    scope.declared.push(`(local ${name} i32)`);
    return name;
  }

  #anyLocal(scope: Scope, type: Type): string {
    return this.#random.pick(scope.locals.get(type) ?? []);
  }

  #statements(scope: Scope, count: number, depth: number): string {
    return Array.from({ length: count }, () => this.#statement(scope, depth)).join('\n');
  }

  #statement(scope: Scope, depth: number): string {
    const random = this.#random;
    scope.cost += scope.times;
    const choice = random.below(depth > 0 ? 16 : 9);
    if (choice <= 2) return this.#assignment(scope);
    if (choice <= 4) return this.#memoryStatement(scope);
    if (choice === 5) return this.#stateStatement(scope);
    if (choice <= 7) return this.#call(scope);
    if (choice === 8) return random.chance(15) ? this.#leave(scope) : this.#assignment(scope);
    if (choice <= 10) return this.#choice(scope, depth);
    if (choice === 11) return this.#branchTable(scope, depth);
    return this.#loop(scope, depth);
  }

  #assignment(scope: Scope): string {
    const type = this.#random.pick(allTypes);
    return `(local.set ${this.#anyLocal(scope, type)} ${this.#expression(scope, type, 3)})`;
  }

  /** Ends the function early, or rarely traps, if a condition holds. */
  #leave(scope: Scope): string {
    const condition = `(i32.eq (i32.and ${this.#expression(scope, 'i32', 2)} (i32.const 31)) (i32.const ${this.#random.below(32)}))`;
    if (this.#random.chance(15)) return `(if ${condition} (then (unreachable)))`;
    const values = scope.exit.results.map((type) => this.#expression(scope, type, 1)).join(' ');
    return `(if ${condition} (then ${values} (br ${scope.exit.label})))`;
  }

  #choice(scope: Scope, depth: number): string {
    const condition = this.#expression(scope, 'i32', 2);
    const otherwise = this.#random.chance(50) ? `(else ${this.#statements(scope, 1 + this.#random.below(2), depth - 1)})` : '';
    return `(if ${condition} (then ${this.#statements(scope, 1 + this.#random.below(3), depth - 1)}) ${otherwise})`;
  }

  #branchTable(scope: Scope, depth: number): string {
    const labels = Array.from({ length: 2 + this.#random.below(3) }, () => this.#label(scope));
    const targets = Array.from({ length: 4 }, () => this.#random.pick(labels));
    let text = `(br_table ${targets.join(' ')} (i32.and ${this.#expression(scope, 'i32', 2)} (i32.const 7)))`;
    for (const label of labels) text = `(block ${label} ${text}) ${this.#statements(scope, 1, depth - 1)}`;
    return `(block ${text})`;
  }

  #label(scope: Scope): string {
    scope.labels += 1;
    return `$label${scope.labels}`;
  }

  #loop(scope: Scope, depth: number): string {
    const random = this.#random;
    const rounds = random.pick([1, 2, 3, 5, 8, 17, 40, 150]);
    if (!this.#isAffordable(scope, rounds * 20)) return this.#assignment(scope);
    const counter = this.#counter(scope);
    const label = this.#label(scope);
    const before = scope.times;
    scope.times *= rounds;
    const body = this.#statements(scope, 1 + random.below(3), depth - 1);
    const end = random.chance(50) ? `(i32.const ${rounds})` : `(i32.rem_u ${this.#expression(scope, 'i32', 1)} (i32.const ${rounds}))`;
    const condition = this.#expression(scope, 'i32', 1);
    scope.times = before;
    const next = `(local.set ${counter} (i32.add (local.get ${counter}) (i32.const 1)))`;
    if (random.chance(50)) {
      return `(local.set ${counter} (i32.const 0))
        (loop ${label} ${body} ${next} (br_if ${label} (i32.lt_u (local.get ${counter}) ${end})))`;
    }
    const exit = this.#label(scope);
    return `(local.set ${counter} (i32.const 0))
      (block ${exit} (loop ${label} (br_if ${exit} (i32.ge_u (local.get ${counter}) (i32.const ${rounds})))
        ${next} (br_if ${exit} (i32.eq ${condition} (i32.const ${random.below(4)}))) ${body} (br ${label})))`;
  }

  /** Whether the function can afford more work at this position. */
  #isAffordable(scope: Scope, cost: number): boolean {
    return scope.cost + scope.times * cost < (scope.isLeaf ? leafCostLimit : costLimit);
  }

  #call(scope: Scope): string {
    const random = this.#random;
    const affordable = scope.callees.filter(({ cost }) => this.#isAffordable(scope, cost));
    if (affordable.length === 0) return this.#assignment(scope);
    const callee = random.pick(affordable);
    scope.cost += scope.times * callee.cost;
    const values = callee.parameters.map((type) => this.#expression(scope, type, 2)).join(' ');
    return this.#take(scope, `(call ${callee.name} ${values})`, callee.results);
  }

  /** Returns an address that may be accessed: in the frame, or, in a stateful module, also in its data. Null if there is none. */
  #address(scope: Scope, bytes: number): string | null {
    const random = this.#random;
    const inFrame = scope.frameBytes >= bytes && (this.#isPure || random.chance(50));
    if (inFrame)
      return `(i32.add (local.get $frame) (i32.and ${this.#expression(scope, 'i32', 1)} (i32.const ${scope.frameBytes - bytes})))`;
    if (!this.#hasMemory || this.#isPure) return null;
    if (random.chance(1)) return `(i32.or (i32.const 0x10000000) ${this.#expression(scope, 'i32', 1)})`;
    const masked = `(i32.and ${this.#expression(scope, 'i32', 1)} (i32.const ${dataBytes - 1 - ((dataBytes - 1) % 16) - bytes}))`;
    return random.chance(50) ? masked : `(i32.add (i32.const ${stackBase}) ${masked})`;
  }

  #memoryStatement(scope: Scope): string {
    const random = this.#random;
    if (this.#isLarge && random.chance(40) && this.#isAffordable(scope, longCost)) return this.#longStatement(scope);
    const bulk = random.chance(25);
    const size = 16;
    const address = this.#address(scope, size);
    if (address === null) return this.#assignment(scope);
    if (!bulk) {
      const type = random.pick(allTypes);
      const store = random.pick(stores[type]);
      return `(${store} ${address} ${this.#expression(scope, type, 2)})`;
    }
    const length = `(i32.and ${this.#expression(scope, 'i32', 1)} (i32.const 15))`;
    const other = this.#address(scope, size) ?? address;
    switch (random.below(3)) {
      case 0:
        return `(memory.fill ${address} ${this.#expression(scope, 'i32', 1)} ${length})`;
      case 1:
        return `(memory.copy ${address} ${other} ${length})`;
      default:
        return `(memory.init $passive ${address} (i32.and ${this.#expression(scope, 'i32', 1)} (i32.const 127)) ${length})`;
    }
  }

  /** Generates an instruction on about 64 KiB; most are so long that the compiler splits them. */
  #longStatement(scope: Scope): string {
    scope.cost += scope.times * longCost;
    const far = () => `(i32.add (i32.const 65536) (i32.and ${this.#expression(scope, 'i32', 1)} (i32.const 0xffff)))`;
    const length = `(i32.add (i32.const 65000) (i32.and ${this.#expression(scope, 'i32', 1)} (i32.const 0x7fff)))`;
    if (this.#random.chance(50)) return `(memory.fill ${far()} (i32.or ${this.#expression(scope, 'i32', 1)} (i32.const 1)) ${length})`;
    return `(memory.copy ${far()} ${far()} ${length})`;
  }

  /** Generates statements of stateful modules only: globals, the table, memory growth. */
  #stateStatement(scope: Scope): string {
    const random = this.#random;
    if (this.#isPure) return this.#assignment(scope);
    const index = (mask: number) => `(i32.and ${this.#expression(scope, 'i32', 1)} (i32.const ${mask}))`;
    switch (random.below(6)) {
      case 0:
        return `(table.set $table ${index(7)} (ref.func $leaf${random.below(tableSize / 2)}))`;
      case 1:
        return `(table.copy $table $table ${index(3)} ${index(3)} (i32.const 2))`;
      case 2:
        return `(table.init $table $elements ${index(3)} (i32.const 0) (i32.const 2))`;
      case 3:
        return this.#hasMemory && random.chance(30) ? `(drop (memory.grow ${index(1)}))` : this.#assignment(scope);
      default: {
        if (this.#globals.length === 0) return this.#assignment(scope);
        const global = random.below(this.#globals.length);
        return `(global.set $g${global} ${this.#expression(scope, this.#globals[global] ?? 'i32', 2)})`;
      }
    }
  }

  #constant(type: Type): string {
    const random = this.#random;
    if (type === 'v128') return `(v128.const i32x4 ${[0, 1, 2, 3].map(() => random.below(2 ** 32)).join(' ')})`;
    if (type === 'i32') return `(i32.const ${random.chance(60) ? random.pick(integers) : random.below(2 ** 32)})`;
    if (type === 'i64') return `(i64.const ${argument(random, 'i64')})`;
    return random.chance(10) ? `(${type}.const ${random.pick(['nan', 'inf', '-inf', '-0'])})` : `(${type}.const ${random.pick(floats)})`;
  }

  #expression(scope: Scope, type: Type, depth: number): string {
    const random = this.#random;
    scope.cost += scope.times;
    if (depth <= 0 || random.chance(15)) return random.chance(65) ? `(local.get ${this.#anyLocal(scope, type)})` : this.#constant(type);
    const choice = random.below(20);
    if (choice === 0) return this.#globalRead(type) ?? this.#constant(type);
    if (choice === 1) return this.#load(scope, type) ?? this.#constant(type);
    if (choice === 2) return this.#chosen(scope, type, depth);
    if (choice === 3) return `(local.tee ${this.#anyLocal(scope, type)} ${this.#expression(scope, type, depth - 1)})`;
    return type === 'v128' ? this.#vector(scope, depth) : this.#number(scope, type, depth);
  }

  #globalRead(type: Type): string | null {
    const indices = [...this.#globals.keys()].filter((index) => this.#globals[index] === type);
    return indices.length === 0 ? null : `(global.get $g${this.#random.pick(indices)})`;
  }

  #load(scope: Scope, type: Type): string | null {
    const address = this.#address(scope, 16);
    if (address === null) return null;
    return canonicalOf(type, `(${this.#random.pick(loads[type])} ${address})`);
  }

  #chosen(scope: Scope, type: Type, depth: number): string {
    const [left, right] = [this.#expression(scope, type, depth - 1), this.#expression(scope, type, depth - 1)];
    const condition = this.#expression(scope, 'i32', depth - 1);
    if (this.#random.chance(50)) return `(select ${left} ${right} ${condition})`;
    return `(if (result ${type}) ${condition} (then ${left}) (else ${right}))`;
  }

  #number(scope: Scope, type: NumberType, depth: number): string {
    const random = this.#random;
    const operand = (of: Type = type) => this.#expression(scope, of, depth - 1);
    const choice = random.below(16);
    if (choice <= 6) return canonicalOf(type, `(${type}.${random.pick(binaries[type])} ${operand()} ${operand()})`);
    if (choice <= 8) return canonicalOf(type, `(${type}.${random.pick(unaries[type])} ${operand()})`);
    if (choice <= 10) {
      const [instruction, from] = random.pick(conversions[type]);
      return canonicalOf(type, `(${instruction} ${operand(from)})`);
    }
    if (choice === 11) return this.#lane(scope, type, depth);
    return type === 'i32' || type === 'i64' ? this.#integer(scope, type, depth) : `(${type}.${random.pick(['neg', 'abs'])} ${operand()})`;
  }

  #integer(scope: Scope, type: 'i32' | 'i64', depth: number): string {
    const random = this.#random;
    const operand = (of: Type = type) => this.#expression(scope, of, depth - 1);
    const compared = random.pick(numberTypes);
    switch (random.below(6)) {
      case 0: {
        const divisor = random.chance(97) ? `(${type}.or ${operand()} (${type}.const 1))` : operand();
        return `(${type}.${random.pick(['div_u', 'rem_s', 'rem_u'])} ${operand()} ${divisor})`;
      }
      case 1:
        if (scope.isLeaf || !this.#isAffordable(scope, leafCostLimit)) return `(${type}.popcnt ${operand()})`;
        scope.cost += scope.times * leafCostLimit;
        return (
          `(call_indirect $table (type $leaf-type) ${operand('i32')} ${this.#tableIndex(scope, depth)})`.replace(
            /^/,
            type === 'i64' ? '(i64.extend_i32_s ' : '',
          ) + (type === 'i64' ? ')' : '')
        );
      case 2:
        return random.chance(3)
          ? `(${type}.trunc_f64_s ${operand('f64')})`
          : `(${type}.eqz ${operand()})`.replace(/^\(i64/, '(i64.extend_i32_u (i64') + (type === 'i64' ? ')' : '');
      default: {
        const comparison = `(${compared}.${random.pick(comparisons[compared])} ${operand(compared)} ${operand(compared)})`;
        return type === 'i32' ? comparison : `(i64.extend_i32_u ${comparison})`;
      }
    }
  }

  /** The last element of the table is null; the index is mostly below it. */
  #tableIndex(scope: Scope, depth: number): string {
    const index = this.#expression(scope, 'i32', depth - 1);
    return this.#random.chance(96) ? `(i32.and ${index} (i32.const 3))` : `(i32.and ${index} (i32.const ${tableSize * 2 - 1}))`;
  }

  #lane(scope: Scope, type: NumberType, depth: number): string {
    const random = this.#random;
    const operand = this.#expression(scope, 'v128', depth - 1);
    if (type === 'i64') return `(i64x2.extract_lane ${random.below(2)} ${operand})`;
    if (type === 'f32') return canonicalOf('f32', `(f32x4.extract_lane ${random.below(4)} ${operand})`);
    if (type === 'f64') return canonicalOf('f64', `(f64x2.extract_lane ${random.below(2)} ${operand})`);
    return `(${random.pick([`i8x16.extract_lane_s ${random.below(16)}`, `i16x8.extract_lane_u ${random.below(8)}`, `i32x4.extract_lane ${random.below(4)}`, 'i8x16.bitmask', 'v128.any_true', 'i32x4.all_true'])} ${operand})`;
  }

  #vector(scope: Scope, depth: number): string {
    const random = this.#random;
    const operand = (type: Type = 'v128') => this.#expression(scope, type, depth - 1);
    switch (random.below(8)) {
      case 0: {
        const [splat, from] = random.pick([
          ['i8x16.splat', 'i32'],
          ['i16x8.splat', 'i32'],
          ['i32x4.splat', 'i32'],
          ['i64x2.splat', 'i64'],
          ['f32x4.splat', 'f32'],
          ['f64x2.splat', 'f64'],
        ] as const);
        return `(${splat} ${operand(from)})`;
      }
      case 1:
        return `(i8x16.shuffle ${Array.from({ length: 16 }, () => random.below(32)).join(' ')} ${operand()} ${operand()})`;
      case 2:
        return `(${random.pick(['i8x16.shl', 'i16x8.shr_s', 'i32x4.shr_u', 'i64x2.shl'])} ${operand()} ${operand('i32')})`;
      case 3: {
        const instruction = random.pick(vectorFloats);
        return `(call $nan-${instruction.slice(0, 5)} (${instruction} ${operand()} ${operand()}))`;
      }
      case 4:
        return `(${random.pick(vectorUnaries)} ${operand()})`;
      case 5: {
        const [replace, from] = random.pick([
          ['i8x16.replace_lane 3', 'i32'],
          ['i32x4.replace_lane 1', 'i32'],
          ['i64x2.replace_lane 1', 'i64'],
          ['f64x2.replace_lane 0', 'f64'],
        ] as const);
        return `(${replace} ${operand()} ${operand(from)})`;
      }
      case 6:
        return `(v128.bitselect ${operand()} ${operand()} ${operand()})`;
      default:
        return `(${random.pick(vectorBinaries)} ${operand()} ${operand()})`;
    }
  }
}

/** Mixes values of the function's frame into a result. */
function withFrame(type: Type, text: string, frameBytes: number): string {
  if (frameBytes === 0 || (type !== 'i32' && type !== 'i64')) return text;
  const offsets = [0, frameBytes / 2, frameBytes - 8];
  return offsets.reduce((mixed, offset) => `(${type}.xor ${mixed} (${type}.load offset=${offset} (local.get $frame)))`, text);
}

/** Returns a hash of the parameters, so that threads in the same function have different canaries. */
function canaryText(parameters: readonly Type[]): string {
  return parameters.reduce((mixed, type, index) => {
    if (type !== 'i32' && type !== 'i64') return mixed;
    const value = type === 'i32' ? `(i64.extend_i32_u (local.get $p${index}))` : `(local.get $p${index})`;
    return `(i64.add (i64.mul ${mixed} (i64.const 0x100000001b3)) ${value})`;
  }, '(i64.const 0x5eed)');
}

function canonicalOf(type: Type, text: string): string {
  return type === 'f32' || type === 'f64' ? `(call $nan-${type} ${text})` : text;
}

const resultText = (results: readonly Type[]) => (results.length === 0 ? '' : `(result ${results.join(' ')})`);

function typeText(parameters: readonly Type[], results: readonly Type[]): string {
  return `${parameters.length === 0 ? '' : `(param ${parameters.join(' ')})`} ${resultText(results)}`;
}
