// How each loop of a function pays for its work, decided from the innermost outwards in one pass over the instructions.

import { emptyBlock, type Instruction, opcodes } from './binary/instruction.ts';
import { entryLimit } from './cost-model.ts';
import { type CountedLoop, LocalSets, matchCountedLoop } from './counted-loop.ts';

/** The unused part of the limit `copiedInstructions`. */
export type CodeGrowthBudget = { left: number };

/** Iterations of a short loop that are paid for together, and how much work one of them may be. */
export const unrolling = { iterations: 4, maxWork: 24 } as const;

/** Instructions of a safepoint. */
const safepointSize = 10;

/** Counted loops in each other that get a local each; further out they pay like other loops. */
const stretchDepthLimit = 200;

export type LoopPlan = {
  /** Position of its `end`. */
  readonly end: number;
  /** Work of one pass through it, inner loops and their copies included, whatever way it takes. */
  readonly work: number;
} & (
  | {
      readonly kind: 'strip-mined';
      readonly counted: CountedLoop /** Which of the function's additional locals it uses. */;
      readonly local: number;
    }
  /** Pays each time that `paidTogether.iterations` have been done, and has as many copies of its body. */
  | { readonly kind: 'unrolled' }
  /** Pays in each iteration: at the only branch back to it (its position), so that one pass costs nothing, or else (null) where it begins. */
  | { readonly kind: 'per-iteration'; readonly backBranch: number | null }
);

export type FunctionPlan = {
  /** By the position of `loop`; loops that nothing branches back to have none: they run once. */
  readonly loops: ReadonlyMap<number, LoopPlan>;
  /** Locals of type i32 that stretches need. */
  readonly locals: number;
};

/** A block that is open. */
type Frame = {
  readonly start: number;
  readonly number: number;
  readonly kind: 'loop' | 'if' | 'other';
  branches: number;
  /** Position of the last branch to it; null if that is a `br_table` or the exit branch of a loop, which may become part of stretches. */
  lastBranch: number | null;
  /** Outermost block that is branched to from inside, as a depth; of a loop without its exit branch. */
  outermost: number;
  exitTarget: number | null;
  hasElse: boolean;
  conditional: { end: number; isPlain: boolean; frame: number } | null;
  work: number;
  size: number;
  /** Counted loops in each other below. */
  stretchDepth: number;
};

export type PlanOptions = {
  readonly budget: CodeGrowthBudget;
  /** Whether a loop that pays by iterations always does so where they begin, also the first. */
  readonly chargesAtStart: boolean;
};

/** @param works Work of each instruction, by position. */
export function planLoops(instructions: readonly Instruction[], works: Uint32Array, options: PlanOptions): FunctionPlan {
  const planner = new Planner(instructions, works, options);
  for (const [position, instruction] of instructions.entries()) planner.read(position, instruction);
  return { loops: planner.loops, locals: planner.locals };
}

class Planner {
  readonly loops = new Map<number, LoopPlan>();
  locals = 0;
  readonly #instructions: readonly Instruction[];
  readonly #works: Uint32Array;
  readonly #budget: CodeGrowthBudget;
  readonly #paysAtStart: boolean;
  readonly #sets = new LocalSets();
  readonly #frames: Frame[];
  #opened = 0;

  constructor(instructions: readonly Instruction[], works: Uint32Array, { budget, chargesAtStart: paysAtStart }: PlanOptions) {
    this.#instructions = instructions;
    this.#works = works;
    this.#budget = budget;
    this.#paysAtStart = paysAtStart;
    this.#frames = [this.#newFrame(-1, 'other')];
  }

  #newFrame(start: number, kind: Frame['kind']): Frame {
    this.#opened += 1;
    return {
      start,
      number: this.#opened,
      kind,
      branches: 0,
      lastBranch: null,
      outermost: Number.MAX_SAFE_INTEGER,
      exitTarget: null,
      hasElse: false,
      conditional: null,
      work: 0,
      size: 0,
      stretchDepth: 0,
    };
  }

  read(position: number, instruction: Instruction): void {
    const frame = this.#frames.at(-1);
    if (frame === undefined) throw new Error('an end without a block');
    switch (instruction.kind) {
      case 'block':
        this.#frames.push(
          this.#newFrame(position, instruction.op === opcodes.loop ? 'loop' : instruction.op === opcodes.if ? 'if' : 'other'),
        );
        break;
      case 'try-table':
        for (const { label } of instruction.catches) this.#branch(frame, label);
        this.#frames.push(this.#newFrame(position, 'other'));
        break;
      case 'branch':
        if (isExitBranch(frame, position, instruction.op, instruction.label)) frame.exitTarget = this.#countBranch(instruction.label);
        else this.#branch(frame, instruction.label, position);
        break;
      case 'branch-table':
        for (const label of instruction.labels) this.#branch(frame, label);
        break;
      case 'local':
        if (instruction.op !== opcodes['local.get']) this.#sets.add(instruction.index, position, frame.number);
        break;
      default:
        if (instruction.op === opcodes.return) frame.outermost = 0;
        else if (instruction.op === opcodes.else) frame.hasElse = true;
    }
    const at = this.#frames.at(-1) ?? frame;
    at.work += this.#works[position] ?? 0;
    at.size += 1;
    if (instruction.op === opcodes.end) this.#close(position);
  }

  #countBranch(label: number, position: number | null = null): number {
    const target = this.#frames.length - 1 - label;
    const frame = this.#frames[target];
    if (frame !== undefined) {
      frame.branches += 1;
      frame.lastBranch = position;
    }
    return target;
  }

  #branch(from: Frame, label: number, position: number | null = null): void {
    from.outermost = Math.min(from.outermost, this.#countBranch(label, position));
  }

  #close(end: number): void {
    const frame = this.#frames.pop();
    const parent = this.#frames.at(-1);
    if (frame === undefined || parent === undefined) throw new Error('an end without a block');
    if (frame.kind === 'loop' && frame.branches > 0) this.#planLoop(frame, end);
    if (frame.kind === 'if' && parent.kind === 'loop' && frame.start === parent.start + 4) {
      parent.conditional = { end, isPlain: !frame.hasElse && frame.branches === 0, frame: frame.number };
    }
    parent.work = Math.min(parent.work + frame.work, 0x7fff_ffff);
    parent.size += frame.size;
    parent.outermost = Math.min(parent.outermost, frame.outermost, frame.exitTarget ?? frame.outermost);
    parent.stretchDepth = Math.max(parent.stretchDepth, frame.stretchDepth);
  }

  #planLoop(frame: Frame, end: number): void {
    const { work, start } = frame;
    const type = this.#instructions[start];
    const counted = type?.kind === 'block' && type.type === emptyBlock && work <= entryLimit ? this.#counted(frame, end) : null;
    if (counted !== null && frame.stretchDepth < stretchDepthLimit) {
      this.loops.set(start, { kind: 'strip-mined', counted, local: frame.stretchDepth, end, work });
      frame.stretchDepth += 1;
      frame.size += 3 * safepointSize;
      this.locals = Math.max(this.locals, frame.stretchDepth);
      return;
    }
    const { iterations, maxWork: limit } = unrolling;
    const added = (iterations - 1) * (frame.size + 4);
    // A loop with parameters has them on the stack at its branches, and each copy would need its own.
    const hasParameters = type?.kind !== 'block' || type.type >= 0;
    if (work <= limit && added <= this.#budget.left && !hasParameters) {
      this.#budget.left -= added;
      this.loops.set(start, { kind: 'unrolled', end, work });
      frame.work *= iterations;
      frame.size += added;
    } else {
      const paysAtBranch = frame.branches === 1 && !hasParameters && !this.#paysAtStart;
      this.loops.set(start, { kind: 'per-iteration', backBranch: paysAtBranch ? frame.lastBranch : null, end, work });
    }
    frame.size += safepointSize;
  }

  #counted(frame: Frame, end: number): CountedLoop | null {
    const shape = {
      start: frame.start,
      end,
      backBranches: frame.branches,
      leaves: frame.outermost < this.#frames.length,
      hasExitBranch: frame.exitTarget !== null,
      conditional: frame.conditional,
      frame: frame.number,
    };
    return matchCountedLoop(this.#instructions, shape, this.#sets);
  }
}

/** A `br_if` out of a loop, directly after the two values and the comparison that the loop begins with. */
function isExitBranch(frame: Frame, position: number, op: number, label: number): boolean {
  return frame.kind === 'loop' && position === frame.start + 4 && op === opcodes.br_if && label > 0;
}
