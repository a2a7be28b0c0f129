// Measures the maximum work of a function between its safepoints on any path, and finds where it needs safepoints besides those of its loops.

import { type Instruction, opcodes } from './binary/instruction.ts';
import { entryLimit } from './cost-model.ts';
import { type FunctionPlan, type LoopPlan, unrolling } from './loop-plan.ts';

/**
 * Work is charged in advance. The caller of the function charges `maxWork`, and a safepoint in straight code charges `maxWork` for the code after it.
 * The safepoint of a loop charges the work of the path back to it. At each position, the charged work covers the work up to the next safepoint.
 */
export type PathWork = {
  /**
   * Maximum work from the entry, or from a safepoint in straight code, to the next such safepoint or the end. At most `entryLimit`, unless one
   * instruction exceeds it.
   */
  readonly maxWork: number;
  /** Positions in straight code that need a safepoint before them, ascending. */
  readonly safepointPositions: readonly number[];
  /** Work charged by the safepoint of each unrolled or per-iteration loop, by the position of `loop`. */
  readonly loopCharges: ReadonlyMap<number, number>;
};

/** An open block. */
type Frame = {
  readonly kind: 'loop' | 'if' | 'other';
  readonly start: number;
  /** Uncharged work at the start of the block. */
  readonly before: number;
  /** Maximum uncharged work at a branch to the block; -1: no branch. */
  atBranches: number;
  hasElse: boolean;
};

export function measurePaths(instructions: readonly Instruction[], works: Uint32Array, { loops }: FunctionPlan): PathWork {
  const walk = new Walk(loops);
  for (const [position, instruction] of instructions.entries()) walk.read(position, instruction, works[position] ?? 0);
  return { maxWork: walk.maxWork, safepointPositions: walk.safepointPositions, loopCharges: walk.loopCharges };
}

class Walk {
  maxWork = 0;
  readonly safepointPositions: number[] = [];
  readonly loopCharges = new Map<number, number>();
  readonly #loops: ReadonlyMap<number, LoopPlan>;
  readonly #frames: Frame[] = [{ kind: 'other', start: -1, before: 0, atBranches: -1, hasElse: false }];
  /** Uncharged work on the most expensive path to the current position. */
  #uncharged = 0;
  /** End of the current loop whose work is counted as a whole; -1: none. */
  #wholeUntil = -1;

  constructor(loops: ReadonlyMap<number, LoopPlan>) {
    this.#loops = loops;
  }

  read(position: number, instruction: Instruction, work: number): void {
    if (instruction.op === opcodes.loop) this.#open('loop', position, this.#enterLoop(position, work));
    else {
      this.#add(position, work);
      if (instruction.kind === 'block') this.#open(instruction.op === opcodes.if ? 'if' : 'other', position, this.#uncharged);
      else if (instruction.kind === 'try-table') {
        for (const { label } of instruction.catches) this.#branch(label);
        this.#open('other', position, this.#uncharged);
      } else if (instruction.kind === 'branch') this.#branch(instruction.label);
      else if (instruction.kind === 'branch-table') for (const label of instruction.labels) this.#branch(label);
      else if (instruction.op === opcodes.else) this.#else();
      else if (instruction.op === opcodes.end) this.#close(position);
    }
    if (terminators.has(instruction.op)) this.#uncharged = this.#wholeUntil < 0 ? 0 : this.#uncharged;
  }

  #open(kind: Frame['kind'], start: number, before: number): void {
    this.#frames.push({ kind, start, before, atBranches: -1, hasElse: false });
  }

  #add(position: number, work: number): void {
    if (this.#wholeUntil >= 0 || work === 0) return;
    if (this.#uncharged > 0 && this.#uncharged + work > entryLimit) {
      this.safepointPositions.push(position);
      this.#uncharged = 0;
    }
    this.#uncharged += work;
    this.maxWork = Math.max(this.maxWork, this.#uncharged);
  }

  /** Returns the uncharged work at the start of each iteration. */
  #enterLoop(position: number, work: number): number {
    const plan = this.#loops.get(position);
    if (plan === undefined) this.#add(position, work);
    else if (plan.kind === 'per-iteration') {
      this.#add(position, work);
      if (this.#wholeUntil >= 0) this.loopCharges.set(position, Math.max(1, plan.work));
    } else {
      const total = plan.kind === 'unrolled' ? plan.work * unrolling.iterations : plan.work;
      this.#add(position, total);
      if (plan.kind === 'unrolled') this.loopCharges.set(position, Math.max(1, total));
      if (this.#wholeUntil < 0) this.#wholeUntil = plan.end;
    }
    return this.#uncharged;
  }

  #branch(label: number): void {
    const target = this.#frames[this.#frames.length - 1 - label];
    if (target !== undefined) target.atBranches = Math.max(target.atBranches, this.#uncharged);
  }

  #else(): void {
    const frame = this.#frames.at(-1);
    if (frame === undefined) return;
    frame.hasElse = true;
    frame.atBranches = Math.max(frame.atBranches, this.#uncharged);
    this.#uncharged = frame.before;
  }

  #close(position: number): void {
    const frame = this.#frames.pop();
    if (frame === undefined) return;
    if (frame.kind === 'loop') {
      if (frame.atBranches >= 0 && !this.loopCharges.has(frame.start)) {
        this.loopCharges.set(frame.start, Math.max(1, frame.atBranches - frame.before));
      }
    } else {
      this.#uncharged = Math.max(this.#uncharged, frame.atBranches);
      if (frame.kind === 'if' && !frame.hasElse) this.#uncharged = Math.max(this.#uncharged, frame.before);
    }
    if (position === this.#wholeUntil) this.#wholeUntil = -1;
  }
}

/** Instructions after which the rest of the block is unreachable. */
const terminators: ReadonlySet<number> = new Set([opcodes.br, opcodes.br_table, opcodes.return, opcodes.unreachable]);
