// The most work that a function does between its safepoints, whatever way it takes; and where it needs more of them than its loops have.

import { type Instruction, opcodes } from './binary/instruction.ts';
import { entryLimit } from './cost-model.ts';
import { type FunctionPlan, type LoopPlan, unrolling } from './loop-plan.ts';

/**
 * Work counts as paid as follows. Who enters the function pays `most`. A safepoint in straight code pays `most` for what comes after it. The safepoint of
 * a loop pays for the way back to it. So at each place there is at least as much paid as may be done before the next safepoint.
 */
export type PathWork = {
  /** Most work from the entry, or from a safepoint in straight code, to the next such safepoint or the end. At most `entryLimit`, or one instruction. */
  readonly maxWork: number;
  /** Positions before which straight code needs a safepoint, ascending. */
  readonly safepointPositions: readonly number[];
  /** What the safepoint of each loop pays that pays by iterations, by the position of `loop`. */
  readonly loopCharges: ReadonlyMap<number, number>;
};

/** An open block. */
type Frame = {
  readonly kind: 'loop' | 'if' | 'other';
  readonly start: number;
  /** Work since the last payment, at the beginning. */
  readonly before: number;
  /** The most at a branch to it; -1: none. */
  atBranches: number;
  hasElse: boolean;
};

export function measurePaths(instructions: readonly Instruction[], works: Uint32Array, { loops }: FunctionPlan): PathWork {
  const walk = new Walk(loops);
  for (const [position, instruction] of instructions.entries()) walk.read(position, instruction, works[position] ?? 0);
  return { maxWork: walk.most, safepointPositions: walk.places, loopCharges: walk.loopPayments };
}

class Walk {
  most = 0;
  readonly places: number[] = [];
  readonly loopPayments = new Map<number, number>();
  readonly #loops: ReadonlyMap<number, LoopPlan>;
  readonly #frames: Frame[] = [{ kind: 'other', start: -1, before: 0, atBranches: -1, hasElse: false }];
  /** Work since the last payment, on the way that does most. */
  #unpaid = 0;
  /** End of a loop that is counted as a whole. */
  #wholeUntil = -1;

  constructor(loops: ReadonlyMap<number, LoopPlan>) {
    this.#loops = loops;
  }

  read(position: number, instruction: Instruction, work: number): void {
    if (instruction.op === opcodes.loop) this.#open('loop', position, this.#enterLoop(position, work));
    else {
      this.#add(position, work);
      if (instruction.kind === 'block') this.#open(instruction.op === opcodes.if ? 'if' : 'other', position, this.#unpaid);
      else if (instruction.kind === 'try-table') {
        for (const { label } of instruction.catches) this.#branch(label);
        this.#open('other', position, this.#unpaid);
      } else if (instruction.kind === 'branch') this.#branch(instruction.label);
      else if (instruction.kind === 'branch-table') for (const label of instruction.labels) this.#branch(label);
      else if (instruction.op === opcodes.else) this.#else();
      else if (instruction.op === opcodes.end) this.#close(position);
    }
    if (leaves.has(instruction.op)) this.#unpaid = this.#wholeUntil < 0 ? 0 : this.#unpaid;
  }

  #open(kind: Frame['kind'], start: number, before: number): void {
    this.#frames.push({ kind, start, before, atBranches: -1, hasElse: false });
  }

  #add(position: number, work: number): void {
    if (this.#wholeUntil >= 0 || work === 0) return;
    if (this.#unpaid > 0 && this.#unpaid + work > entryLimit) {
      this.places.push(position);
      this.#unpaid = 0;
    }
    this.#unpaid += work;
    this.most = Math.max(this.most, this.#unpaid);
  }

  /** Returns the work that is unpaid where each iteration begins. */
  #enterLoop(position: number, work: number): number {
    const plan = this.#loops.get(position);
    if (plan === undefined) this.#add(position, work);
    else if (plan.kind === 'per-iteration') {
      this.#add(position, work);
      if (this.#wholeUntil >= 0) this.loopPayments.set(position, Math.max(1, plan.work));
    } else {
      const together = plan.kind === 'unrolled' ? plan.work * unrolling.iterations : plan.work;
      this.#add(position, together);
      if (plan.kind === 'unrolled') this.loopPayments.set(position, Math.max(1, together));
      if (this.#wholeUntil < 0) this.#wholeUntil = plan.end;
    }
    return this.#unpaid;
  }

  #branch(label: number): void {
    const target = this.#frames[this.#frames.length - 1 - label];
    if (target !== undefined) target.atBranches = Math.max(target.atBranches, this.#unpaid);
  }

  #else(): void {
    const frame = this.#frames.at(-1);
    if (frame === undefined) return;
    frame.hasElse = true;
    frame.atBranches = Math.max(frame.atBranches, this.#unpaid);
    this.#unpaid = frame.before;
  }

  #close(position: number): void {
    const frame = this.#frames.pop();
    if (frame === undefined) return;
    if (frame.kind === 'loop') {
      if (frame.atBranches >= 0 && !this.loopPayments.has(frame.start)) {
        this.loopPayments.set(frame.start, Math.max(1, frame.atBranches - frame.before));
      }
    } else {
      this.#unpaid = Math.max(this.#unpaid, frame.atBranches);
      if (frame.kind === 'if' && !frame.hasElse) this.#unpaid = Math.max(this.#unpaid, frame.before);
    }
    if (position === this.#wholeUntil) this.#wholeUntil = -1;
  }
}

/** What follows these is not reached, up to the end of the block. */
const leaves: ReadonlySet<number> = new Set([opcodes.br, opcodes.br_table, opcodes.return, opcodes.unreachable]);
