// Counted loops: a local goes to a limit in constant steps, so that the remaining iterations are known before each stretch.

import { type Instruction, i32Const, localGet, opcodes, plain } from './binary/instruction.ts';

export type CountedLoop = WhileLoop | UntilLoop;

/** What index and limit are compared by while the loop continues, the index first. */
type Comparison = 'i32.lt_s' | 'i32.lt_u' | 'i32.gt_s' | 'i32.gt_u' | 'i32.ne';

/** `limit` is an `i32.const` or a `local.get`; the body is [bodyStart, bodyEnd) of the function's instructions. */
type Counting = {
  readonly index: number;
  readonly limit: Instruction;
  /** Added to the index in each iteration; positive where the index goes up to the limit, negative where it goes down. */
  readonly step: number;
  readonly bodyStart: number;
  readonly bodyEnd: number;
};

/**
 * A loop that tests first: `loop; index, limit, compare; if; body; br 1; end; end`, or `loop; index, limit, opposite; br_if exit; body; br 0; end`.
 * The body changes the index once in every iteration.
 */
type WhileLoop = Counting & {
  readonly form: 'while';
  readonly compare: Comparison;
  /** The test and branch of the second form, which stand before each stretch; null in the first. */
  readonly exit: readonly Instruction[] | null;
};

/** A loop that tests last: `loop; body; index + step → index, limit, i32.ne; br_if 0; end`; a limit of 0 may be left out. */
type UntilLoop = Counting & { readonly form: 'until' };

/** Facts about a loop, collected up to its end. */
export type LoopShape = {
  /** Positions of `loop` and of its `end`. */
  readonly start: number;
  readonly end: number;
  /** Branches to the loop, and whether one in it leaves it, besides a `br_if` at `start + 4`. */
  readonly backBranches: number;
  readonly leaves: boolean;
  readonly hasExitBranch: boolean;
  /** An `if` that begins at `start + 4`: where it ends, and whether it is without `else` and not branched to. */
  readonly conditional: { readonly end: number; readonly isPlain: boolean; readonly frame: number } | null;
  /** Numbers of the blocks: sets of locals note the innermost one. */
  readonly frame: number;
};

/** Where each local of a function is set, in order, with the innermost block around it. */
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

  /** How often a local is set in [start, end), and the first of these places. */
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

/** Index of the first item that is not below a value. */
function lowerBound(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** With larger steps the index could go past a limit that is near the end of its range, and begin again. */
const largestStep = 1_024;

const mirrored: ReadonlyMap<Comparison, Comparison> = new Map<Comparison, Comparison>([
  ['i32.lt_s', 'i32.gt_s'],
  ['i32.lt_u', 'i32.gt_u'],
  ['i32.gt_s', 'i32.lt_s'],
  ['i32.gt_u', 'i32.lt_u'],
  ['i32.ne', 'i32.ne'],
]);

const comparisons: ReadonlyMap<number, Comparison> = new Map([...mirrored.keys()].map((name) => [opcodes[name], name]));

/** Comparisons that end a loop → those that continue it. */
const opposites: ReadonlyMap<number, Comparison> = new Map<number, Comparison>([
  [opcodes['i32.ge_s'], 'i32.lt_s'],
  [opcodes['i32.ge_u'], 'i32.lt_u'],
  [opcodes['i32.le_s'], 'i32.gt_s'],
  [opcodes['i32.le_u'], 'i32.gt_u'],
  [opcodes['i32.eq'], 'i32.ne'],
]);

/**
 * Reads a loop as one that counts, or returns null. The loop ends only when the comparison fails, or by a trap: every other way out, and every
 * other way back, makes it a loop of another kind: it would pay for what it does not do. So does an index or a limit that is set anywhere else.
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
    { at: start + 1, bodyStart: start + 5, bodyEnd: end - 2, frame: conditional.frame, exit: null },
    sets,
  );
}

function exitLoop(instructions: readonly Instruction[], { start, end, frame }: LoopShape, sets: LocalSets): CountedLoop | null {
  if (!isBranch(instructions[end - 1], opcodes.br, 0)) return null;
  const compare = opposites.get(instructions[start + 3]?.op ?? -1);
  if (compare === undefined) return null;
  const exit = instructions.slice(start + 1, start + 5);
  return whileLoop(instructions, compare, { at: start + 1, bodyStart: start + 5, bodyEnd: end - 1, frame, exit }, sets);
}

type Body = {
  /** Where the two values of the comparison are. */
  readonly at: number;
  readonly bodyStart: number;
  readonly bodyEnd: number;
  readonly frame: number;
  readonly exit: readonly Instruction[] | null;
};

function whileLoop(instructions: readonly Instruction[], compare: Comparison, body: Body, sets: LocalSets): CountedLoop | null {
  const [left, right] = [instructions[body.at], instructions[body.at + 1]];
  if (left === undefined || right === undefined) return null;
  const ways = [
    { index: localOf(left), limit: right, compare },
    { index: localOf(right), limit: left, compare: mirrored.get(compare) ?? compare },
  ];
  for (const { index, limit, compare: way } of ways) {
    const step = index === null ? null : stepIn(instructions, index, body, sets);
    if (index === null || step === null || !staysAs(limit, body, sets) || !meets(step, limit, way)) continue;
    return { form: 'while', index, limit, step, compare: way, exit: body.exit, bodyStart: body.bodyStart, bodyEnd: body.bodyEnd };
  }
  return null;
}

/** Whether the index meets the limit: by steps of one every one; by larger steps it must not pass the end of its range. */
function meets(step: number, limit: Instruction, compare: Comparison): boolean {
  if (compare === 'i32.ne') return Math.abs(step) === 1;
  if (step > 0 !== compare.startsWith('i32.lt')) return false;
  if (Math.abs(step) === 1) return true;
  const constant = constantOf(limit);
  return constant !== null && Math.abs(constant) <= 0x7fff_ffff - largestStep && (constant >= largestStep || compare.endsWith('s'));
}

/** What the one change of the index in a body adds, if every iteration does it. */
function stepIn(instructions: readonly Instruction[], index: number, { bodyStart, bodyEnd, frame }: Body, sets: LocalSets): number | null {
  const set = sets.within(index, bodyStart, bodyEnd);
  if (set.count !== 1 || set.frame !== frame || set.position - 3 < bodyStart) return null;
  return stepAt(instructions, set.position, index);
}

/** What `local.get index; i32.const step; i32.add; local.set index` adds, given the place of its end; null of anything else. */
function stepAt(instructions: readonly Instruction[], position: number, index: number): number | null {
  const [from, constant, change] = instructions.slice(position - 3, position);
  if (from === undefined || localOf(from) !== index) return null;
  const size = constantOf(constant);
  if (size === null || size === 0 || Math.abs(size) > largestStep) return null;
  if (change?.op === opcodes['i32.add']) return size;
  return change?.op === opcodes['i32.sub'] ? -size : null;
}

/** Where the limit and the change of the index are before a final `br_if`, from the end of the loop. */
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
    if (localOf(limit) === index || !staysAs(limit, { bodyStart: start, bodyEnd: end }, sets)) continue;
    return { form: 'until', index, limit, step, ...body };
  }
  return null;
}

/** Whether a limit is the same in all iterations. */
function staysAs(limit: Instruction, { bodyStart, bodyEnd }: { bodyStart: number; bodyEnd: number }, sets: LocalSets): boolean {
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

/** Instructions that put how far an index is from its limit on the stack. */
export function remainingDistance({ index, limit, step }: CountedLoop): Instruction[] {
  return step > 0 ? [limit, localGet(index), plain('i32.sub')] : [localGet(index), limit, plain('i32.sub')];
}
