// Plans how each loop of a function charges fuel for its work, from the innermost loop outwards, in one pass over the instructions.

import { emptyBlock, type Instruction, opcodes } from './binary/instruction.ts';
import { entryLimit } from './cost-model.ts';
import { type CountedLoop, LocalSets, matchCountedLoop } from './counted-loop.ts';

/** The unused part of the limit `copiedInstructions`, in instructions. */
export type CodeGrowthBudget = { left: number };

/** Iterations of a short loop that share one safepoint, and the maximum work of one of them. */
export const unrolling = { iterations: 4, maxWork: 24 } as const;

/** Number of instructions of a safepoint. */
const safepointSize = 10;

/** Maximum nesting of strip-mined loops, which need a local each. Counted loops further out charge like other loops. */
const stripDepthLimit = 200;

export type LoopPlan = {
  /** Position of the loop's `end`. */
  readonly end: number;
  /** Maximum work of one iteration, including inner loops and their copies. */
  readonly work: number;
} & (
  | {
      readonly kind: 'strip-mined';
      readonly counted: CountedLoop /** Which of the additional locals of the function the loop uses. */;
      readonly local: number;
    }
  /** Has `unrolling.iterations` copies of its body, which share one safepoint. */
  | { readonly kind: 'unrolled' }
  /** Has a safepoint in each iteration: at its only back branch (by position), so that a single pass costs nothing, or at its start (null). */
  | { readonly kind: 'per-iteration'; readonly backBranch: number | null }
);

export type FunctionPlan = {
  /** Plans by the position of `loop`. A loop without a back branch has no plan: it runs once. */
  readonly loops: ReadonlyMap<number, LoopPlan>;
  /** Number of additional i32 locals that strip-mined loops need. */
  readonly locals: number;
};

/** An open block. */
type Frame = {
  readonly start: number;
  readonly number: number;
  readonly kind: 'loop' | 'if' | 'other';
  branches: number;
  /** Position of the last branch to the block; null if that is a `br_table` or the exit branch of a loop, which strip mining may move. */
  lastBranch: number | null;
  /** Depth of the outermost block that a branch inside targets; for a loop, without its exit branch. */
  outermost: number;
  exitTarget: number | null;
  hasElse: boolean;
  conditional: { end: number; isPlain: boolean; frame: number } | null;
  work: number;
  size: number;
  /** Nesting of strip-mined loops inside. */
  stripDepth: number;
};

export type PlanOptions = {
  readonly budget: CodeGrowthBudget;
  /** Whether loops with a safepoint per iteration have it at their start, so that the first iteration is charged too. */
  readonly chargesAtStart: boolean;
};

/** Plans the loops of a function. @param works Work of each instruction, by position. */
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
  readonly #chargesAtStart: boolean;
  readonly #sets = new LocalSets();
  readonly #frames: Frame[];
  #opened = 0;

  constructor(instructions: readonly Instruction[], works: Uint32Array, { budget, chargesAtStart }: PlanOptions) {
    this.#instructions = instructions;
    this.#works = works;
    this.#budget = budget;
    this.#chargesAtStart = chargesAtStart;
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
      stripDepth: 0,
    };
  }

  read(position: number, instruction: Instruction): void {
    const frame = this.#frames.at(-1);
    if (frame === undefined) throw new Error('end without a block');
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
    if (frame === undefined || parent === undefined) throw new Error('end without a block');
    if (frame.kind === 'loop' && frame.branches > 0) this.#planLoop(frame, end);
    if (frame.kind === 'if' && parent.kind === 'loop' && frame.start === parent.start + 4) {
      parent.conditional = { end, isPlain: !frame.hasElse && frame.branches === 0, frame: frame.number };
    }
    parent.work = Math.min(parent.work + frame.work, 0x7fff_ffff);
    parent.size += frame.size;
    parent.outermost = Math.min(parent.outermost, frame.outermost, frame.exitTarget ?? frame.outermost);
    parent.stripDepth = Math.max(parent.stripDepth, frame.stripDepth);
  }

  #planLoop(frame: Frame, end: number): void {
    const { work, start } = frame;
    const type = this.#instructions[start];
    const counted = type?.kind === 'block' && type.type === emptyBlock && work <= entryLimit ? this.#counted(frame, end) : null;
    if (counted !== null && frame.stripDepth < stripDepthLimit) {
      this.loops.set(start, { kind: 'strip-mined', counted, local: frame.stripDepth, end, work });
      frame.stripDepth += 1;
      frame.size += 3 * safepointSize;
      this.locals = Math.max(this.locals, frame.stripDepth);
      return;
    }
    const { iterations, maxWork } = unrolling;
    const added = (iterations - 1) * (frame.size + 4);
    // The parameters of a loop are on the stack at its branches, and each copy of the body would need its own.
    const hasParameters = type?.kind !== 'block' || type.type >= 0;
    if (work <= maxWork && added <= this.#budget.left && !hasParameters) {
      this.#budget.left -= added;
      this.loops.set(start, { kind: 'unrolled', end, work });
      frame.work *= iterations;
      frame.size += added;
    } else {
      const chargesAtBranch = frame.branches === 1 && !hasParameters && !this.#chargesAtStart;
      this.loops.set(start, { kind: 'per-iteration', backBranch: chargesAtBranch ? frame.lastBranch : null, end, work });
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

/** Returns whether an instruction is a `br_if` out of a loop, directly after the two values and the comparison at its start. */
function isExitBranch(frame: Frame, position: number, op: number, label: number): boolean {
  return frame.kind === 'loop' && position === frame.start + 4 && op === opcodes.br_if && label > 0;
}
