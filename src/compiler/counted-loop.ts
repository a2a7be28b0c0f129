// Recognizes counted loops: a local moves to a limit in constant steps, so that the number of remaining iterations is known before each strip.

import { type Instruction, i32Const, localGet, opcodes, plain } from './binary/instruction.ts';

export type CountedLoop = WhileLoop | UntilLoop;

/** The comparison of index and limit, in this order, that holds while the loop continues. */
type Comparison = 'i32.lt_s' | 'i32.lt_u' | 'i32.gt_s' | 'i32.gt_u' | 'i32.ne';

/** `limit` is an `i32.const` or a `local.get`. The body is the range [bodyStart, bodyEnd) of the function's instructions. */
type Counting = {
  readonly index: number;
  readonly limit: Instruction;
  /** Added to the index in each iteration: positive if the index counts up to the limit, negative if it counts down. */
  readonly step: number;
  readonly bodyStart: number;
  readonly bodyEnd: number;
};

/**
 * A loop that tests before its body: `loop; index, limit, compare; if; body; br 1; end; end`, or `loop; index, limit, opposite; br_if exit; body; br 0; end`.
 * The body changes the index exactly once in every iteration.
 */
type WhileLoop = Counting & {
  readonly form: 'while';
  readonly compare: Comparison;
  /** The test and branch of the second form, which run before each strip; null for the first form. */
  readonly exit: readonly Instruction[] | null;
};

/** A loop that tests after its body: `loop; body; index + step → index, limit, i32.ne; br_if 0; end`. A limit of 0 may be omitted. */
type UntilLoop = Counting & { readonly form: 'until' };

/** Properties of a loop, collected up to its end. */
export type LoopShape = {
  /** Positions of `loop` and of its `end`. */
  readonly start: number;
  readonly end: number;
  /** Number of branches to the loop. */
  readonly backBranches: number;
  /** Whether a branch in the loop leaves it, besides a `br_if` at `start + 4`. */
  readonly leaves: boolean;
  readonly hasExitBranch: boolean;
  /** An `if` at `start + 4`: the position of its end, and whether it has no `else` and no branch to it. */
  readonly conditional: { readonly end: number; readonly isPlain: boolean; readonly frame: number } | null;
  /** Number of the loop's block; `LocalSets` records the innermost block of each set. */
  readonly frame: number;
};

/** The positions at which each local of a function is set, ascending, with the innermost block around each. */
export class LocalSets {
  readonly #positions = new Map<number, number[]>();
  readonly #frames = new Map<number, number[]>();

  add(local: number, position: number, frame: number): void {
    const positions = this.#positions.get(local);
    if (positions === undefined) {
      this.#positions.set(local, [position]);
      this.#frames.set(local, [frame]);
    } else {
      positions.push(position);
      this.#frames.get(local)?.push(frame);
    }
  }

  /** Returns how often a local is set in [start, end), and the first of these positions. */
  within(local: number, start: number, end: number): { count: number; position: number; frame: number } {
    const positions = this.#positions.get(local) ?? [];
    const first = lowerBound(positions, start);
    return {
      count: lowerBound(positions, end) - first,
      position: positions[first] ?? -1,
      frame: this.#frames.get(local)?.[first] ?? -1,
    };
  }
}

/** Returns the index of the first item that is not less than a value. */
function lowerBound(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** With larger steps, the index could overshoot a limit near the end of its range and wrap around. */
const maxStep = 1_024;

const mirrored: ReadonlyMap<Comparison, Comparison> = new Map<Comparison, Comparison>([
  ['i32.lt_s', 'i32.gt_s'],
  ['i32.lt_u', 'i32.gt_u'],
  ['i32.gt_s', 'i32.lt_s'],
  ['i32.gt_u', 'i32.lt_u'],
  ['i32.ne', 'i32.ne'],
]);

const comparisons: ReadonlyMap<number, Comparison> = new Map([...mirrored.keys()].map((name) => [opcodes[name], name]));

/** For each comparison that ends a loop, the opposite that continues it. */
const opposites: ReadonlyMap<number, Comparison> = new Map<number, Comparison>([
  [opcodes['i32.ge_s'], 'i32.lt_s'],
  [opcodes['i32.ge_u'], 'i32.lt_u'],
  [opcodes['i32.le_s'], 'i32.gt_s'],
  [opcodes['i32.le_u'], 'i32.gt_u'],
  [opcodes['i32.eq'], 'i32.ne'],
]);

/**
 * Matches a counted loop; returns null for any other loop. A counted loop ends only when its comparison fails, or by a trap. A loop with another exit,
 * another back branch, or another change of its index or limit does not match: it would be charged for iterations that it does not run.
 */
export function matchCountedLoop(instructions: readonly Instruction[], shape: LoopShape, sets: LocalSets): CountedLoop | null {
  if (shape.backBranches !== 1 || shape.leaves) return null;
  if (shape.conditional !== null) return conditionalLoop(instructions, shape, shape.conditional, sets);
  return shape.hasExitBranch ? exitLoop(instructions, shape, sets) : untilLoop(instructions, shape, sets);
}

function conditionalLoop(
  instructions: readonly Instruction[],
  { start, end }: LoopShape,
  conditional: NonNullable<LoopShape['conditional']>,
  sets: LocalSets,
): CountedLoop | null {
  if (conditional.end !== end - 1 || !conditional.isPlain || !isBranch(instructions[end - 2], opcodes.br, 1)) return null;
  const compare = comparisons.get(instructions[start + 3]?.op ?? -1);
  if (compare === undefined) return null;
  return whileLoop(
    instructions,
    compare,
    { comparison: start + 1, bodyStart: start + 5, bodyEnd: end - 2, frame: conditional.frame, exit: null },
    sets,
  );
}

function exitLoop(instructions: readonly Instruction[], { start, end, frame }: LoopShape, sets: LocalSets): CountedLoop | null {
  if (!isBranch(instructions[end - 1], opcodes.br, 0)) return null;
  const compare = opposites.get(instructions[start + 3]?.op ?? -1);
  if (compare === undefined) return null;
  const exit = instructions.slice(start + 1, start + 5);
  return whileLoop(instructions, compare, { comparison: start + 1, bodyStart: start + 5, bodyEnd: end - 1, frame, exit }, sets);
}

type Body = {
  /** Position of the two operands of the comparison. */
  readonly comparison: number;
  readonly bodyStart: number;
  readonly bodyEnd: number;
  readonly frame: number;
  readonly exit: readonly Instruction[] | null;
};

function whileLoop(instructions: readonly Instruction[], compare: Comparison, body: Body, sets: LocalSets): CountedLoop | null {
  const [left, right] = [instructions[body.comparison], instructions[body.comparison + 1]];
  if (left === undefined || right === undefined) return null;
  const candidates = [
    { index: localOf(left), limit: right, compare },
    { index: localOf(right), limit: left, compare: mirrored.get(compare) ?? compare },
  ];
  for (const { index, limit, compare: candidate } of candidates) {
    const step = index === null ? null : stepIn(instructions, index, body, sets);
    if (index === null || step === null || !isInvariant(limit, body, sets) || !reachesLimit(step, limit, candidate)) continue;
    return { form: 'while', index, limit, step, compare: candidate, exit: body.exit, bodyStart: body.bodyStart, bodyEnd: body.bodyEnd };
  }
  return null;
}

/** Returns whether the index reaches the limit without wrapping around. Steps of one reach every limit. */
function reachesLimit(step: number, limit: Instruction, compare: Comparison): boolean {
  if (compare === 'i32.ne') return Math.abs(step) === 1;
  if (step > 0 !== compare.startsWith('i32.lt')) return false;
  if (Math.abs(step) === 1) return true;
  const constant = constantOf(limit);
  return constant !== null && Math.abs(constant) <= 0x7fff_ffff - maxStep && (constant >= maxStep || compare.endsWith('s'));
}

/** Returns the step by which a body changes the index, if it does so exactly once in every iteration; null otherwise. */
function stepIn(instructions: readonly Instruction[], index: number, { bodyStart, bodyEnd, frame }: Body, sets: LocalSets): number | null {
  const set = sets.within(index, bodyStart, bodyEnd);
  if (set.count !== 1 || set.frame !== frame || set.position - 3 < bodyStart) return null;
  return stepAt(instructions, set.position, index);
}

/** Returns the step of `local.get index; i32.const step; i32.add; local.set index`, given the position of its end; null for other code. */
function stepAt(instructions: readonly Instruction[], position: number, index: number): number | null {
  const [from, constant, change] = instructions.slice(position - 3, position);
  if (from === undefined || localOf(from) !== index) return null;
  const size = constantOf(constant);
  if (size === null || size === 0 || Math.abs(size) > maxStep) return null;
  if (change?.op === opcodes['i32.add']) return size;
  return change?.op === opcodes['i32.sub'] ? -size : null;
}

/** Distances of the limit and the index change from the end of a loop with a final `br_if`. */
const untilForms = [
  { length: 7, change: 4, limit: 3 },
  { length: 7, change: 3, limit: 7 },
  { length: 5, change: 2, limit: null },
] as const;

function untilLoop(instructions: readonly Instruction[], { start, end, frame }: LoopShape, sets: LocalSets): CountedLoop | null {
  if (!isBranch(instructions[end - 1], opcodes.br_if, 0)) return null;
  for (const form of untilForms) {
    if (end - form.length <= start) continue;
    if (form.limit !== null && instructions[end - 2]?.op !== opcodes['i32.ne']) continue;
    const change = instructions[end - form.change];
    const limit = form.limit === null ? i32Const(0) : instructions[end - form.limit];
    if (change?.op !== opcodes['local.tee'] || change.kind !== 'local' || limit === undefined) continue;
    const { index } = change;
    const body = { bodyStart: start + 1, bodyEnd: end - form.length };
    const step = stepAt(instructions, end - form.change, index);
    const set = sets.within(index, start, end);
    if (step === null || set.count !== 1 || set.frame !== frame) continue;
    if (localOf(limit) === index || !isInvariant(limit, { bodyStart: start, bodyEnd: end }, sets)) continue;
    return { form: 'until', index, limit, step, ...body };
  }
  return null;
}

/** Returns whether a limit is the same in all iterations. */
function isInvariant(limit: Instruction, { bodyStart, bodyEnd }: { bodyStart: number; bodyEnd: number }, sets: LocalSets): boolean {
  const local = localOf(limit);
  return local === null ? constantOf(limit) !== null : sets.within(local, bodyStart, bodyEnd).count === 0;
}

function localOf(instruction: Instruction): number | null {
  return instruction.kind === 'local' && instruction.op === opcodes['local.get'] ? instruction.index : null;
}

const constantOf = (instruction: Instruction | undefined) => (instruction?.kind === 'i32' ? instruction.value : null);

function isBranch(instruction: Instruction | undefined, op: number, label: number): boolean {
  return instruction?.kind === 'branch' && instruction.op === op && instruction.label === label;
}

/** Returns instructions that push the distance of the index from its limit. */
export function remainingDistance({ index, limit, step }: CountedLoop): Instruction[] {
  return step > 0 ? [limit, localGet(index), plain('i32.sub')] : [localGet(index), limit, plain('i32.sub')];
}
